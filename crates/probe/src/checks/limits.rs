//! Guessing passwords is slowed down, and by all instances together. Never guesses at an account that may
//! exist; but this machine's address is shut out for a while where the limit works.

use std::collections::BTreeSet;

use http::header::RETRY_AFTER;
use serde_json::json;

use super::counted;
use crate::client::{Ask, Visitor};
use crate::plan::Check;
use crate::report::Finding;
use crate::visit::Visit;

/// One guess.
struct Guess {
    /// The status, or why there was none.
    answer: Result<u16, String>,
    instance: Option<String>,
    has_retry_after: bool,
}

pub(super) async fn run(visit: &mut Visit<'_>) -> Finding {
    let body = json!({ "email": NOBODY, "password": "a guess that is surely wrong" });
    let ask = Ask::post_json(&visit.plan.auth_paths.login, &body);
    let mut visitors: Vec<Visitor> = (0..CONNECTIONS).map(|_| visit.visitor()).collect();
    let mut guesses = Vec::new();
    let mut behind_first = 0;
    while guesses.len() < GUESSES_MAX && behind_first < MORE_GUESSES {
        let at = guesses.len() % CONNECTIONS;
        let answer = visitors[at].ask(&ask).await;
        let guess = Guess {
            instance: answer.as_ref().ok().and_then(|a| visit.instance(a)),
            has_retry_after: answer
                .as_ref()
                .is_ok_and(|a| a.headers.contains_key(RETRY_AFTER)),
            answer: answer.map(|a| a.status).map_err(|e| e.to_string()),
        };
        if matches!(guess.answer, Ok(404 | 405)) {
            return Finding::skipped(Check::Limits, "nobody can log in here: --login-path");
        }
        behind_first += usize::from(behind_first > 0 || guess.answer == Ok(429));
        guesses.push(guess);
    }
    judge(&guesses)
}

fn judge(guesses: &[Guess]) -> Finding {
    let mut finding = Finding::of(Check::Limits);
    let odd = guesses.iter().find_map(|guess| match &guess.answer {
        Err(trouble) => Some(trouble.clone()),
        Ok(200..=299) => Some("it was accepted".to_owned()),
        Ok(status @ 500..) => Some(format!("answer {status}")),
        Ok(_) => None,
    });
    if let Some(what) = odd {
        finding.fault(
            format!("to a wrong guess: {what}"),
            "look at the instances' logs",
        );
    }
    let first = guesses.iter().position(|guess| guess.answer == Ok(429));
    let free = first.unwrap_or(guesses.len());
    finding.figure("guesses", guesses.len());
    finding.figure("free_guesses", free);
    let Some(first) = first else {
        finding.fault(
            format!(
                "{} guesses from one address, and none is refused",
                guesses.len()
            ),
            "limit failed logins for each address, counted by all instances together",
        );
        return finding.summary("nothing slows guessing down");
    };
    let behind = &guesses[first..];
    if let Some(guess) = behind.iter().find(|guess| guess.answer != Ok(429)) {
        finding.fault(
            format!(
                "{} takes guesses after another instance refused them",
                guess.instance.as_deref().unwrap_or("an instance")
            ),
            "let all instances count failed logins together",
        );
    }
    if behind
        .iter()
        .any(|guess| guess.answer == Ok(429) && !guess.has_retry_after)
    {
        finding.fault(
            "a refused guess is not told when to come back",
            "send Retry-After with 429",
        );
    }
    let instances: BTreeSet<_> = behind.iter().filter_map(|g| g.instance.as_ref()).collect();
    finding.summary(format!(
        "refused after {free} guesses, by {}",
        counted(instances.len(), "instance")
    ))
}

/// Under a top-level name that nobody has (RFC 6761).
const NOBODY: &str = "portcullis-probe@nobody.invalid";
const CONNECTIONS: usize = 4;
/// Behind the first refusal, so that every instance is asked.
const MORE_GUESSES: usize = 24;
const GUESSES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn guesses(statuses: &[u16]) -> Vec<Guess> {
        let guess = |(at, status): (usize, &u16)| Guess {
            answer: Ok(*status),
            instance: Some(format!("i-{}", at % 2)),
            has_retry_after: *status == 429,
        };
        statuses.iter().enumerate().map(guess).collect()
    }

    #[test]
    fn a_limit_that_all_share_is_good() {
        let finding = judge(&guesses(&[401, 401, 429, 429, 429]));
        assert_eq!(finding.verdict, Verdict::Pass, "{:?}", finding.remarks);
        assert_eq!(finding.summary, "refused after 2 guesses, by 2 instances");
    }

    #[test]
    fn no_limit_and_a_limit_of_each_instance_alone_are_faults() {
        assert_eq!(judge(&guesses(&[401; 50])).verdict, Verdict::Fail);
        assert_eq!(
            judge(&guesses(&[401, 429, 401, 429])).verdict,
            Verdict::Fail
        );
        assert_eq!(
            judge(&guesses(&[401, 500, 429, 429])).verdict,
            Verdict::Fail
        );
        assert_eq!(judge(&guesses(&[200, 429])).verdict, Verdict::Fail);
    }

    #[test]
    fn whoever_is_refused_is_told_when_to_come_back() {
        let mut untold = guesses(&[401, 429]);
        untold[1].has_retry_after = false;
        assert_eq!(judge(&untold).verdict, Verdict::Fail);
    }
}
