//! Endpoints that are to have only a part of their weight. Never draws chance.

use super::*;

#[test]
fn a_part_of_a_share_is_served_while_whole_ones_are_idle() {
    let ewma = Balance::PeakEwma {
        decay: Duration::from_secs(10),
    };
    for balance in [
        Balance::RoundRobin,
        Balance::LeastConn,
        Balance::P2c,
        ewma,
        UNBOUNDED,
    ] {
        let mut cluster = Played::of(balance, &[3, 2, 1]);
        cluster.set(0, Standing::In { share_percent: 10 });
        let of_first = |cluster: &mut Played| {
            let served = cluster.serve(1_000);
            served.iter().filter(|id| **id == 0).count()
        };
        // 0.3 of 3.3.
        let count = of_first(&mut cluster);
        assert!((80..=101).contains(&count), "{balance:?}: {count}");
        (1..3).for_each(|id| cluster.set(id, Standing::In { share_percent: 10 }));
        let count = of_first(&mut cluster);
        assert!((400..=600).contains(&count), "{balance:?}: {count}");
    }
}

#[test]
fn a_part_of_a_share_is_no_reason_to_overload() {
    for balance in [Balance::LeastConn, Balance::P2c] {
        let mut cluster = Played::of(balance, &[1, 1, 1]);
        cluster.set(0, Standing::In { share_percent: 10 });
        cluster.hold(210);
        let of_first = cluster.in_flight(0);
        assert!((8..=14).contains(&of_first), "{balance:?}: {of_first}");
    }
}

#[test]
fn peak_ewma_spares_the_slow_whatever_their_share() {
    let decay = Duration::from_secs(10);
    let mut cluster = Played::of(Balance::PeakEwma { decay }, &[1, 1]);
    assert_eq!(cluster.hold(2), [0, 1]);
    cluster.finish(0, 500);
    cluster.finish(1, 10);
    cluster.set(0, Standing::In { share_percent: 50 });
    assert_eq!(cluster.hold(20), [1; 20]);
}
