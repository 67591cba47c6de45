//! Requests are spread as the weights say, as far as chance allows a verdict. Never asks for two things at
//! once: a balancer that counts requests in flight then sees equals, whatever their speed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::counted;
use crate::client::Visitor;
use crate::plan::Check;
use crate::report::Finding;
use crate::statistics::{fit, independent_share};
use crate::visit::Visit;

/// What came back.
#[derive(Default)]
struct Seen {
    counts: BTreeMap<String, u64>,
    last: Option<String>,
    /// How often the same answered twice in a row.
    agreements: u64,
    /// Answers that do not say who gave them.
    anonymous: u64,
    failed: u64,
    first_failure: Option<String>,
}

/// What was promised.
struct Promise<'a> {
    weights: Option<&'a [u32]>,
    tolerance_percent: u32,
}

pub(super) async fn run(visit: &mut Visit<'_>) -> Finding {
    let began = Instant::now();
    let mut visitors: Vec<Visitor> = (0..CONNECTIONS).map(|_| visit.visitor()).collect();
    let mut seen = Seen::default();
    let ask = visit.ask();
    for number in 0..visit.plan.requests as usize {
        // Whatever has come by then is judged; fewer answers only allow less of a verdict.
        if began.elapsed() > TIME_MAX {
            break;
        }
        let failure = match visitors[number % CONNECTIONS].ask(&ask).await {
            Ok(answer) if answer.status >= 500 => format!("answer {}", answer.status),
            Ok(answer) => {
                match visit.instance(&answer) {
                    Some(name) => seen.count(name),
                    None => seen.anonymous += 1,
                }
                // Whoever asks in step with other clients always meets the same endpoint.
                tokio::time::sleep(answer.took.mul_f64(fastrand::f64())).await;
                continue;
            }
            Err(trouble) => trouble.to_string(),
        };
        seen.failed += 1;
        seen.first_failure.get_or_insert(failure);
    }
    let promise = Promise {
        weights: visit.plan.weights.as_deref(),
        tolerance_percent: visit.plan.tolerance_percent,
    };
    judge(&seen, &promise)
}

impl Seen {
    fn count(&mut self, name: String) {
        self.agreements += u64::from(self.last.as_ref() == Some(&name));
        *self.counts.entry(name.clone()).or_default() += 1;
        self.last = Some(name);
    }
}

fn judge(seen: &Seen, promise: &Promise<'_>) -> Finding {
    let named: u64 = seen.counts.values().sum();
    if named == 0 && seen.anonymous > 0 {
        let reason = "answers do not say who gave them: name the field with --instance-header";
        return Finding::skipped(Check::Distribution, reason);
    }
    let mut finding = Finding::of(Check::Distribution);
    if let Some(failure) = &seen.first_failure {
        finding.fault(
            format!("{} without a good answer: {failure}", seen.failed),
            "look at the edge's access log: its outcomes say what happened",
        );
    }
    let mut ranked: Vec<(&str, u64)> = seen.counts.iter().map(|(n, c)| (n.as_str(), *c)).collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let counts: serde_json::Map<_, _> = seen
        .counts
        .iter()
        .map(|(name, count)| (name.clone(), json!(count)))
        .collect();
    finding.figure("requests", named + seen.anonymous + seen.failed);
    finding.figure("failed", seen.failed);
    finding.figure("instances", counts);
    if let Some(weights) = expected_weights(&mut finding, &ranked, promise) {
        compare(&mut finding, &ranked, &weights, seen, promise);
    }
    let shares: Vec<String> = ranked
        .iter()
        .take(SHOWN)
        .map(|(name, count)| format!("{name} {:.0} %", *count as f64 * 100.0 / named as f64))
        .collect();
    let more = if ranked.len() > SHOWN { ", …" } else { "" };
    finding.summary(format!(
        "{named} requests over {}: {}{more}",
        counted(ranked.len(), "instance"),
        shares.join(", ")
    ))
}

/// Weights for the ranked counts, largest first: a stranger is not told which weight is whose. Padded
/// beyond those that answered where more were promised.
fn expected_weights(
    finding: &mut Finding,
    ranked: &[(&str, u64)],
    promise: &Promise<'_>,
) -> Option<Vec<u32>> {
    let Some(weights) = promise.weights else {
        if ranked.len() < 2 {
            finding.doubt(
                "one instance answers everything",
                "if there are more, look why they are out; --instances says how many there must be",
            );
            return None;
        }
        return Some(vec![1; ranked.len()]);
    };
    let mut weights: Vec<u32> = weights.iter().copied().filter(|&w| w > 0).collect();
    weights.sort_unstable_by(|a, b| b.cmp(a));
    if ranked.len() > weights.len() {
        finding.fault(
            format!(
                "{} answer, but {} should",
                counted(ranked.len(), "instance"),
                weights.len()
            ),
            "check which endpoints the cluster has, and that weight 0 takes none",
        );
        return None;
    }
    Some(weights)
}

fn compare(
    finding: &mut Finding,
    ranked: &[(&str, u64)],
    weights: &[u32],
    seen: &Seen,
    promise: &Promise<'_>,
) {
    let mut counts: Vec<u64> = ranked.iter().map(|(_, count)| *count).collect();
    let named: u64 = counts.iter().sum();
    let independent = independent_share(seen.agreements, named.saturating_sub(1), &counts);
    counts.resize(weights.len(), 0);
    let Some(fit) = fit(&counts, weights, independent) else {
        return;
    };
    finding.figure("independent_answers", (named as f64 * independent).round());
    finding.figure("p_value", fit.p_value);
    finding.figure("deviation_percent", (fit.deviation * 100.0).round());
    let is_odd = fit.p_value < ALPHA && fit.deviation * 100.0 >= promise.tolerance_percent.into();
    let (name, count) = ranked.get(fit.worst).copied().unwrap_or(("one more", 0));
    let what = format!(
        "{name} answers {count} of {named} where {:.0} were expected (p = {:.0e})",
        fit.expected, fit.p_value
    );
    if is_odd {
        finding.fault(
            what,
            "look why it is out or preferred; give --weights if weights differ, and --tolerance if the \
             balancer prefers fast endpoints",
        );
    } else if counts.contains(&0) {
        finding.doubt(
            "fewer instances answer than should, by chance perhaps",
            "ask more often: --requests",
        );
    }
}

/// A run on a deployment that follows its weights fails once in a million.
pub(super) const ALPHA: f64 = 1e-6;
/// So that a balancer of connections, too, gets something to balance.
const CONNECTIONS: usize = 8;
const TIME_MAX: Duration = Duration::from_secs(10);
/// More shares nobody reads in one line.
const SHOWN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn seen(counts: &[u64]) -> Seen {
        let named = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        Seen {
            counts: named
                .map(|(at, &count)| (format!("i-{at}"), count))
                .collect(),
            ..Seen::default()
        }
    }

    fn verdict(counts: &[u64], weights: Option<&[u32]>) -> Verdict {
        let promise = Promise {
            weights,
            tolerance_percent: 25,
        };
        judge(&seen(counts), &promise).verdict
    }

    /// As a balancer would that draws each endpoint by its weight.
    fn drawn(random: &mut fastrand::Rng, requests: u64, weights: &[u32]) -> Vec<u64> {
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0; weights.len()];
        for _ in 0..requests {
            let mut point = random.u32(0..total);
            let at = weights.iter().position(|&weight| {
                let is_here = point < weight;
                point = point.wrapping_sub(weight);
                is_here
            });
            counts[at.unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn ten_thousand_clean_runs_raise_no_false_alarm() {
        let mut random = fastrand::Rng::with_seed(20_261_121);
        for run in 0..10_000 {
            let instances = random.usize(2..=20);
            let is_told = random.bool();
            let largest = if is_told { 10 } else { 1 };
            let weights: Vec<u32> = (0..instances).map(|_| random.u32(1..=largest)).collect();
            let requests = random.u64(20..=400);
            let counts = drawn(&mut random, requests, &weights);
            let told = is_told.then_some(&*weights);
            assert_ne!(
                verdict(&counts, told),
                Verdict::Fail,
                "run {run}: {counts:?} by {told:?}"
            );
        }
    }

    #[test]
    fn clients_that_take_turns_with_others_raise_no_false_alarm() {
        let mut random = fastrand::Rng::with_seed(11);
        for run in 0..2_000 {
            let instances = random.usize(2..=10);
            let stubbornness = [0.3, 0.6, 0.9, 0.97][run % 4];
            let (mut seen, mut at) = (Seen::default(), 0);
            for _ in 0..300 {
                if random.f64() >= stubbornness {
                    at = random.usize(0..instances);
                }
                seen.count(format!("i-{at}"));
            }
            let promise = Promise {
                weights: None,
                tolerance_percent: 25,
            };
            let finding = judge(&seen, &promise);
            assert_ne!(finding.verdict, Verdict::Fail, "run {run}: {finding:?}");
        }
    }

    #[test]
    fn one_with_twice_its_share_is_always_caught() {
        let mut random = fastrand::Rng::with_seed(7);
        for run in 0..1_000 {
            let counts = drawn(&mut random, 300, &[4, 1, 1]);
            assert_eq!(
                verdict(&counts, None),
                Verdict::Fail,
                "run {run}: {counts:?}"
            );
        }
    }

    #[test]
    fn one_that_gets_nothing_is_caught_where_its_number_is_known() {
        assert_eq!(verdict(&[150, 150], Some(&[1, 1, 1])), Verdict::Fail);
        assert_eq!(verdict(&[150, 150], None), Verdict::Pass);
        assert_eq!(verdict(&[300], Some(&[1, 1])), Verdict::Fail);
        assert_eq!(verdict(&[300], None), Verdict::Warn);
        assert_eq!(verdict(&[300], Some(&[5])), Verdict::Pass);
        assert_eq!(
            verdict(&[9, 9], Some(&[9, 9, 1])),
            Verdict::Warn,
            "too few requests to tell"
        );
    }

    #[test]
    fn weights_are_followed_whoever_has_which() {
        assert_eq!(verdict(&[60, 180, 60], Some(&[3, 1, 1])), Verdict::Pass);
        assert_eq!(verdict(&[100, 100, 100], Some(&[3, 1, 1])), Verdict::Fail);
        assert_eq!(verdict(&[150, 150], Some(&[1, 1, 0])), Verdict::Pass);
        assert_eq!(verdict(&[100, 100, 100], Some(&[1, 1, 0])), Verdict::Fail);
    }

    #[test]
    fn answers_without_a_name_and_failures_are_told() {
        let promise = Promise {
            weights: None,
            tolerance_percent: 25,
        };
        let mut anonymous = seen(&[]);
        anonymous.anonymous = 300;
        assert_eq!(judge(&anonymous, &promise).verdict, Verdict::Skipped);
        let mut failing = seen(&[100, 100]);
        (failing.failed, failing.first_failure) = (1, Some("answer 502".to_owned()));
        let finding = judge(&failing, &promise);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert_eq!(
            finding.remarks[0].what,
            "1 without a good answer: answer 502"
        );
    }
}
