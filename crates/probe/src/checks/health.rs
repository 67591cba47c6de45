//! Health paths answer, again and again. Never asks the edge's own admin listener.

use std::time::Duration;

use serde_json::json;

use super::{counted, milliseconds};
use crate::client::Ask;
use crate::plan::Check;
use crate::report::Finding;
use crate::visit::Visit;

/// What came back from one path.
struct PathSeen {
    path: String,
    /// Status, or why there was none.
    answers: Vec<Result<u16, String>>,
    slowest: Duration,
}

pub(super) async fn run(visit: &mut Visit<'_>) -> Finding {
    let mut seen = Vec::new();
    let mut visitor = visit.visitor();
    for path in visit.health_paths() {
        let mut path_seen = PathSeen {
            path,
            answers: Vec::new(),
            slowest: Duration::ZERO,
        };
        for _ in 0..TIMES {
            let answer = visitor.ask(&Ask::get(&path_seen.path)).await;
            if let Ok(answer) = &answer {
                visit.instance(answer);
                path_seen.slowest = path_seen.slowest.max(answer.took);
            }
            let answer = answer.map(|answer| answer.status);
            path_seen.answers.push(answer.map_err(|e| e.to_string()));
            if !path_seen.is_offered() {
                break;
            }
        }
        seen.push(path_seen);
    }
    judge(&seen, !visit.plan.health_paths.is_empty())
}

impl PathSeen {
    /// A path that nobody named need not exist, nor be open to strangers.
    fn is_offered(&self) -> bool {
        !matches!(self.answers.first(), Some(Ok(300..=499)))
    }
}

fn judge(seen: &[PathSeen], are_named: bool) -> Finding {
    let offered = seen.iter().filter(|path| are_named || path.is_offered());
    let offered: Vec<_> = offered.collect();
    if offered.is_empty() {
        let reason = "none of the usual health paths answers: name yours with --health-path";
        return Finding::skipped(Check::Health, reason);
    }
    let mut finding = Finding::of(Check::Health);
    let is_good = |answer: &Result<u16, String>| matches!(answer, Ok(200..=299));
    for path in &offered {
        let bad: Vec<_> = path.answers.iter().filter(|a| !is_good(a)).collect();
        if let Some(first) = bad.first() {
            let what = match first {
                Ok(status) => format!("answers {status}"),
                Err(trouble) => trouble.clone(),
            };
            finding.fault(
                format!(
                    "{}: {} of {}: {what}",
                    path.path,
                    bad.len(),
                    path.answers.len()
                ),
                "look at the instances' own health; the edge's log says why an endpoint is out",
            );
        }
    }
    let answers = || offered.iter().flat_map(|path| &path.answers);
    let good = answers().filter(|answer| is_good(answer)).count();
    let all = answers().count();
    let slowest = offered.iter().map(|path| path.slowest).max();
    let slowest = milliseconds(slowest.unwrap_or_default());
    let paths: Vec<_> = offered.iter().map(|path| path.path.clone()).collect();
    finding.figure("paths", json!(paths));
    finding.figure("answers", all);
    finding.figure("good", good);
    finding.figure("slowest_ms", slowest);
    finding.summary(format!(
        "{}, {good} of {all} answers good, slowest {slowest} ms",
        counted(offered.len(), "path")
    ))
}

/// Often enough to meet every instance of a small deployment.
const TIMES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn path(path: &str, statuses: &[u16]) -> PathSeen {
        PathSeen {
            path: path.to_owned(),
            answers: statuses.iter().copied().map(Ok).collect(),
            slowest: Duration::from_millis(3),
        }
    }

    #[test]
    fn paths_that_do_not_exist_are_no_fault_unless_they_were_named() {
        let seen = [path("/health", &[200; 10]), path("/healthz", &[404])];
        let finding = judge(&seen, false);
        assert_eq!(finding.verdict, Verdict::Pass);
        assert_eq!(
            finding.summary,
            "1 path, 10 of 10 answers good, slowest 3 ms"
        );
        assert_eq!(judge(&seen, true).verdict, Verdict::Fail);
        assert_eq!(judge(&seen[1..], false).verdict, Verdict::Skipped);
    }

    #[test]
    fn one_bad_answer_of_many_is_a_fault() {
        let mut seen = path("/health", &[200, 200, 503, 200]);
        assert_eq!(judge(&[seen], false).verdict, Verdict::Fail);
        seen = path("/health", &[503; 10]);
        assert_eq!(judge(&[seen], false).verdict, Verdict::Fail);
        let mut silent = path("/health", &[]);
        silent.answers = vec![Err("no answer".to_owned())];
        assert_eq!(judge(&[silent], false).verdict, Verdict::Fail);
    }
}
