//! What the samples of a watch say. Never waits: it is all in them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::{Sample, Seen};
use crate::checks::distribution::ALPHA;
use crate::checks::{counted, milliseconds};
use crate::plan::Check;
use crate::report::Finding;
use crate::statistics::absence_proof;

pub(super) fn judge(seen: &Seen) -> Vec<Finding> {
    let gone = gone(seen);
    vec![failover(seen, &gone), reassignment(seen, &gone)]
}

impl Sample {
    fn is_good(&self) -> bool {
        matches!(self.result, Ok((..=499, _)))
    }

    fn instance(&self) -> Option<&str> {
        self.result.as_ref().ok()?.1.as_deref()
    }

    fn said(&self) -> String {
        match &self.result {
            Ok((status, _)) => format!("answer {status}"),
            Err(trouble) => trouble.clone(),
        }
    }
}

/// Instances that answered while it was calm and then did not for so long that it is no chance.
fn gone(seen: &Seen) -> BTreeSet<&str> {
    let calm: Vec<&str> = names(seen.free.iter().filter(|s| s.sent < seen.calm));
    let known: BTreeSet<&str> = calm.iter().copied().collect();
    let is_gone = |name: &&str| {
        let share = calm.iter().filter(|n| *n == name).count() as f64 / calm.len() as f64;
        let mut longest = 0;
        let mut run = 0;
        for other in names(seen.free.iter().filter(|s| s.sent >= seen.calm)) {
            run = if other == *name { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        longest >= absence_proof(share, ALPHA)
    };
    known.into_iter().filter(is_gone).collect()
}

fn names<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<&'a str> {
    samples.filter_map(Sample::instance).collect()
}

fn failover(seen: &Seen, gone: &BTreeSet<&str>) -> Finding {
    let mut finding = Finding::of(Check::Failover);
    let failed: Vec<&Sample> = seen.free.iter().filter(|s| !s.is_good()).collect();
    let gap = longest_gap(seen);
    let slowest = seen.free.iter().map(|s| s.took).max().unwrap_or_default();
    finding.figure("requests", seen.free.len());
    finding.figure("failed", failed.len());
    finding.figure("longest_gap_ms", milliseconds(gap));
    finding.figure("slowest_ms", milliseconds(slowest));
    finding.figure("left", json!(gone));
    if let (Some(first), Some(last)) = (failed.first(), failed.last()) {
        finding.fault(
            format!(
                "{} of {} requests failed over {:.1} s, the first with: {}",
                failed.len(),
                seen.free.len(),
                (last.sent.saturating_sub(first.sent)).as_secs_f64(),
                first.said()
            ),
            "let the edge repeat what may be repeated (retries), and check endpoints more often (health)",
        );
    } else if gone.is_empty() {
        return Finding::skipped(
            Check::Failover,
            "no instance left during the watch: stop or drain one, or give --drain-command",
        );
    } else if slowest > SLOW {
        finding.doubt(
            format!("a client waited {:.1} s", slowest.as_secs_f64()),
            "shorten the edge's timeouts towards endpoints, or its health interval",
        );
    }
    let left: Vec<&str> = gone.iter().copied().collect();
    finding.summary(format!(
        "{} left: {} of {} requests failed, longest gap {} ms, slowest {} ms",
        if left.is_empty() {
            "nobody".to_owned()
        } else {
            left.join(", ")
        },
        failed.len(),
        seen.free.len(),
        milliseconds(gap),
        milliseconds(slowest)
    ))
}

/// The longest time without a good answer.
fn longest_gap(seen: &Seen) -> Duration {
    let good = seen.free.iter().filter(|sample| sample.is_good());
    let mut ends: Vec<Duration> = good.map(|s| s.sent + s.took).collect();
    ends.push(seen.watch);
    ends.sort();
    let begins = std::iter::once(Duration::ZERO).chain(ends.iter().copied());
    let gaps = begins.zip(&ends).map(|(a, b)| b.saturating_sub(a));
    gaps.max().unwrap_or_default()
}

fn reassignment(seen: &Seen, gone: &BTreeSet<&str>) -> Finding {
    let bound: Vec<_> = seen
        .bound
        .iter()
        .filter(|samples| !samples.is_empty())
        .collect();
    if bound.is_empty() {
        return Finding::skipped(Check::Reassignment, "affinity is off: no client is bound");
    }
    let mut finding = Finding::of(Check::Reassignment);
    let mut moved = 0;
    for samples in &bound {
        if let Some(sample) = samples.iter().find(|sample| !sample.is_good()) {
            finding.fault(
                format!("a bound client got: {}", sample.said()),
                "let the edge give a client whose endpoint left another one, at once",
            );
        }
        let moves = moves(samples);
        moved += usize::from(!moves.is_empty());
        for (from, sample) in &moves {
            if !gone.contains(from) {
                finding.fault(
                    format!("a client was moved away from {from}, which had not left"),
                    "keep clients with an endpoint that can serve them",
                );
            } else if !sample.has_new_cookie {
                finding.fault(
                    format!("a client that was moved away from {from} got no new cookie"),
                    "bind it anew, or it moves with every request",
                );
            }
        }
    }
    finding.figure("clients", bound.len());
    finding.figure("moved", moved);
    if moved == 0 && finding.remarks.is_empty() {
        return Finding::skipped(
            Check::Reassignment,
            "no bound client had to move: its endpoint went on serving it, or none left",
        );
    }
    finding.summary(format!(
        "{moved} of {} moved to another instance",
        counted(bound.len(), "bound client")
    ))
}

/// From whom a client came each time that another instance answered it.
fn moves(samples: &[Sample]) -> Vec<(&str, &Sample)> {
    let named: Vec<_> = samples.iter().filter(|s| s.instance().is_some()).collect();
    let pairs = named.windows(2).filter_map(|pair| {
        let (before, after) = (pair[0].instance()?, pair[1].instance()?);
        (before != after).then_some((before, pair[1]))
    });
    pairs.collect()
}

/// Nobody notices less.
const SLOW: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn sample(at: u64, name: &str) -> Sample {
        Sample {
            sent: Duration::from_millis(at),
            took: Duration::from_millis(1),
            result: Ok((200, Some(name.to_owned()))),
            has_new_cookie: false,
        }
    }

    /// Ten seconds at 50 a second over a and b; b leaves after six.
    fn watch() -> Seen {
        let name = |n: u64| {
            if n.is_multiple_of(2) && n < 300 {
                "b"
            } else {
                "a"
            }
        };
        Seen {
            calm: Duration::from_secs(3),
            watch: Duration::from_secs(10),
            free: (0..500).map(|n| sample(n * 20, name(n))).collect(),
            bound: Vec::new(),
        }
    }

    fn verdicts(seen: &Seen) -> (Verdict, Verdict) {
        let findings = judge(seen);
        (findings[0].verdict, findings[1].verdict)
    }

    #[test]
    fn nobody_notices_an_endpoint_that_leaves() {
        let finding = judge(&watch()).remove(0);
        assert_eq!(finding.verdict, Verdict::Pass);
        assert_eq!(
            finding.summary,
            "b left: 0 of 500 requests failed, longest gap 20 ms, slowest 1 ms"
        );
    }

    #[test]
    fn a_failed_request_is_a_fault_whoever_left() {
        let mut seen = watch();
        seen.free[300].result = Err("reset".to_owned());
        assert_eq!(verdicts(&seen).0, Verdict::Fail);
        seen.free[300].result = Ok((502, None));
        assert_eq!(verdicts(&seen).0, Verdict::Fail);
    }

    #[test]
    fn without_anybody_leaving_nothing_was_shown() {
        let mut seen = watch();
        for (n, sample) in seen.free.iter_mut().enumerate() {
            let name = if n % 2 == 0 { "b" } else { "a" };
            sample.result = Ok((200, Some(name.to_owned())));
        }
        assert_eq!(verdicts(&seen), (Verdict::Skipped, Verdict::Skipped));
    }

    #[test]
    fn the_longest_gap_counts_good_answers_only() {
        let mut seen = watch();
        for sample in &mut seen.free[300..350] {
            sample.result = Err("refused".to_owned());
        }
        let finding = judge(&seen).remove(0);
        assert_eq!(finding.figures["longest_gap_ms"], 1_020.0);
    }

    #[test]
    fn bound_clients_move_once_with_a_new_cookie() {
        let mut seen = watch();
        let mut client = vec![sample(0, "b"), sample(6_100, "a"), sample(7_000, "a")];
        client[1].has_new_cookie = true;
        seen.bound = vec![client.clone(), vec![sample(0, "a"), sample(7_000, "a")]];
        assert_eq!(verdicts(&seen), (Verdict::Pass, Verdict::Pass));
        client[1].has_new_cookie = false;
        seen.bound[0] = client.clone();
        assert_eq!(verdicts(&seen).1, Verdict::Fail, "no new cookie");
        client[1].result = Ok((503, None));
        seen.bound[0] = client;
        assert_eq!(verdicts(&seen).1, Verdict::Fail, "an error");
        seen.bound[0] = vec![sample(0, "a"), sample(7_000, "c")];
        assert_eq!(verdicts(&seen).1, Verdict::Fail, "moved without need");
    }

    #[test]
    fn bound_clients_of_an_endpoint_that_drains_may_stay() {
        let mut seen = watch();
        seen.bound = vec![vec![sample(0, "b"), sample(7_000, "b")]];
        assert_eq!(verdicts(&seen), (Verdict::Pass, Verdict::Skipped));
    }
}
