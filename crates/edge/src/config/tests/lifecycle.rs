//! The order of leaving: what contradicts it, and what never has its turn.

use super::*;

fn with(shutdown: &str) -> String {
    format!("{SMALL}shutdown: {shutdown}\n")
}

#[test]
fn connections_may_outlast_an_upgrade_as_long_as_a_stop_at_least() {
    let text = with("{ drain: 10m, upgrade_drain: 5m }");
    one_error(
        &text,
        "8:40",
        &["upgrade would cut off", "shorter than `drain`"],
    );
    let text = with("{ upgrade_drain: 29s }");
    one_error(&text, "8:28", &["shorter than `drain`"]);
    for fits in [
        "{ drain: 1h }",
        "{ drain: 0s, upgrade_drain: 0s }",
        "{ drain: 5s, upgrade_drain: 5s }",
    ] {
        good(&with(fits));
    }
}

#[test]
fn a_drain_of_nothing_is_told() {
    one_warning(&with("{ drain: 0s }"), "8:20", &["cut off at once"]);
}

#[test]
fn a_delay_that_nobody_sees_is_told() {
    let off = format!("{}admin: off\n", with("{ delay: 5s }"));
    one_warning(&off, "8:20", &["nobody sees readiness fail"]);
    for quiet in ["{ delay: 0s }", "{}"] {
        let text = format!("{}admin: off\n", with(quiet));
        let warnings = good(&text).warnings;
        assert!(warnings.is_empty(), "{warnings}");
    }
}
