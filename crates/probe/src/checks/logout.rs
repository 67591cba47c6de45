//! A logout ends the token on every instance. Never sends a password over a connection that is not
//! trusted, and never shows a token.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Method;
use http::header::AUTHORIZATION;
use portcullis_ops::Secret;
use serde_json::{Value, json};

use super::{counted, milliseconds};
use crate::client::{Ask, Visitor};
use crate::plan::Check;
use crate::report::Finding;
use crate::visit::Visit;

/// One look at whether the token is good.
#[derive(Clone, Debug)]
struct Look {
    instance: Option<String>,
    /// When it was sent, from the logout's answer on.
    sent_after: Duration,
    /// The status, or why there was none.
    answer: Result<u16, String>,
}

pub(super) async fn run(visit: &mut Visit<'_>) -> Finding {
    let Some(account) = visit.plan.account.clone() else {
        let reason =
            "there is nobody to log in as: --user, with the password in a file or the environment";
        return Finding::skipped(Check::Logout, reason);
    };
    if visit.distrust.is_some() {
        let reason = "no password is sent where the certificate is bad";
        return Finding::skipped(Check::Logout, reason);
    }
    let paths = visit.plan.auth_paths.clone();
    let body = json!({ "email": account.email, "password": account.password.expose() });
    let login = visit
        .visitor()
        .ask(&Ask::post_json(&paths.login, &body))
        .await;
    let token = match login {
        Ok(answer) if answer.is_good() => access_token(&answer.body),
        Ok(answer) => return failed(format!("the login is answered {}", answer.status)),
        Err(trouble) => return failed(format!("the login fails: {trouble}")),
    };
    let Some(token) = token else {
        return failed("the login's answer holds no access_token".to_owned());
    };
    let bearer = Secret::new(format!("Bearer {}", token.expose()));
    let verify = Ask::get(&paths.verify).with(AUTHORIZATION, bearer.expose());
    let mut visitors: Vec<Visitor> = (0..CONNECTIONS).map(|_| visit.visitor()).collect();

    let before = look_around(visit, &mut visitors, &verify, Instant::now(), is_accepted).await;
    let logout = Ask::method(Method::POST, &paths.logout).with(AUTHORIZATION, bearer.expose());
    let ended = match visit.visitor().ask(&logout).await {
        Ok(answer) if answer.is_good() => Instant::now(),
        Ok(answer) => return failed(format!("the logout is answered {}", answer.status)),
        Err(trouble) => return failed(format!("the logout fails: {trouble}")),
    };
    let after = look_around(visit, &mut visitors, &verify, ended, is_refused).await;
    judge(&before, &after, visit.plan.logout_bound)
}

fn access_token(body: &[u8]) -> Option<Secret<String>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let token = answer.get("access_token")?.as_str()?;
    Some(Secret::new(token.to_owned()))
}

fn failed(what: String) -> Finding {
    let mut finding = Finding::of(Check::Logout).summary("could not log in and out");
    finding.fault(
        what,
        "check the account and --login-path, --verify-path, --logout-path",
    );
    finding
}

/// Asks until everybody who is known has answered often enough as wanted, or time is up.
async fn look_around(
    visit: &mut Visit<'_>,
    visitors: &mut [Visitor],
    verify: &Ask,
    since: Instant,
    is_as_wanted: fn(&Look) -> bool,
) -> Vec<Look> {
    let mut looks = Vec::new();
    let limit = visit.plan.logout_bound + GRACE;
    let mut wanted_of: BTreeMap<String, usize> = BTreeMap::new();
    while since.elapsed() < limit {
        if looks.len() >= LOOKS_QUICK {
            // Somebody is behind: look for as long as that is allowed, not as fast as possible.
            tokio::time::sleep(PAUSE).await;
        }
        let sent_after = since.elapsed();
        let at = looks.len() % visitors.len();
        let answer = visitors[at].ask(verify).await;
        let instance = answer.as_ref().ok().and_then(|a| visit.instance(a));
        let look = Look {
            instance,
            sent_after,
            answer: answer.map(|a| a.status).map_err(|e| e.to_string()),
        };
        if let Some(name) = &look.instance {
            let count = wanted_of.entry(name.clone()).or_default();
            // Whoever is behind must catch up, and stay so.
            *count = if is_as_wanted(&look) { *count + 1 } else { 0 };
        }
        looks.push(look);
        let is_done = |name| wanted_of.get(name).is_some_and(|count| *count >= TIMES);
        if looks.len() >= LOOKS_MIN && visit.instances.iter().all(is_done) {
            break;
        }
    }
    looks
}

fn is_accepted(look: &Look) -> bool {
    matches!(look.answer, Ok(200..=299))
}

fn is_refused(look: &Look) -> bool {
    matches!(look.answer, Ok(401 | 403))
}

fn judge(before: &[Look], after: &[Look], bound: Duration) -> Finding {
    let mut finding = Finding::of(Check::Logout);
    let name = |look: &Look| {
        look.instance
            .clone()
            .unwrap_or_else(|| "an instance".to_owned())
    };
    let said = |look: &Look| match &look.answer {
        Ok(status) => format!("answers {status}"),
        Err(trouble) => trouble.clone(),
    };
    if let Some(look) = before.iter().find(|look| !is_accepted(look)) {
        finding.fault(
            format!("{} {} to a fresh token", name(look), said(look)),
            "let all instances share keys, issuer and audience",
        );
    }
    let odd = |look: &&Look| !is_accepted(look) && !is_refused(look);
    if let Some(look) = after.iter().find(odd) {
        finding.fault(
            format!(
                "{} {} to a token that was logged out",
                name(look),
                said(look)
            ),
            "refuse it with 401",
        );
    }
    let late = after
        .iter()
        .filter(|look| is_accepted(look) && look.sent_after >= bound);
    let late: Vec<_> = late.collect();
    if let Some(look) = late.first() {
        finding.fault(
            format!(
                "{} still accepts the token {} ms after its logout ({} of {} answers)",
                name(look),
                milliseconds(look.sent_after),
                late.len(),
                after.len()
            ),
            "let all instances share revocations, or check tokens against them more often",
        );
    }
    let mut instances: Vec<_> = after
        .iter()
        .filter_map(|look| look.instance.as_ref())
        .collect();
    instances.sort();
    instances.dedup();
    let accepted = after.iter().filter(|look| is_accepted(look));
    let last = accepted.map(|look| look.sent_after).max();
    finding.figure("instances", instances.len());
    finding.figure("answers", after.len());
    finding.figure("last_accepted_ms", json!(last.map(milliseconds)));
    finding.summary(match last {
        None => format!(
            "refused at once by {} ({} answers)",
            counted(instances.len(), "instance"),
            after.len()
        ),
        Some(last) => format!("accepted until {} ms after the logout", milliseconds(last)),
    })
}

const CONNECTIONS: usize = 4;
/// In a row, from each instance.
const TIMES: usize = 3;
const LOOKS_MIN: usize = 20;
/// From then on with a pause, which keeps their number within the time that is allowed.
const LOOKS_QUICK: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);
/// Beyond the bound, to see whether it holds then.
const GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    const BOUND: Duration = Duration::from_secs(1);

    fn look(instance: &str, sent_after_ms: u64, status: u16) -> Look {
        Look {
            instance: Some(instance.to_owned()),
            sent_after: Duration::from_millis(sent_after_ms),
            answer: Ok(status),
        }
    }

    fn verdict(before: &[Look], after: &[Look]) -> Verdict {
        judge(before, after, BOUND).verdict
    }

    #[test]
    fn refused_everywhere_at_once_is_good() {
        let before = [look("a", 0, 200), look("b", 1, 200)];
        let after = [look("a", 0, 401), look("b", 1, 401)];
        assert_eq!(verdict(&before, &after), Verdict::Pass);
    }

    #[test]
    fn accepted_within_the_bound_is_told_and_good() {
        let after = [look("a", 0, 401), look("b", 500, 200), look("b", 900, 401)];
        let finding = judge(&[], &after, BOUND);
        assert_eq!(finding.verdict, Verdict::Pass);
        assert_eq!(finding.summary, "accepted until 500 ms after the logout");
    }

    #[test]
    fn one_instance_that_never_hears_of_it_is_a_fault() {
        let after = [look("a", 0, 401), look("b", 1_001, 200)];
        let finding = judge(&[], &after, BOUND);
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.remarks[0].what.starts_with("b still accepts"));
    }

    #[test]
    fn a_fresh_token_that_one_instance_refuses_is_a_fault() {
        let before = [look("a", 0, 200), look("b", 0, 401)];
        assert_eq!(verdict(&before, &[look("a", 0, 401)]), Verdict::Fail);
    }

    #[test]
    fn an_error_is_no_refusal() {
        assert_eq!(verdict(&[], &[look("a", 0, 500)]), Verdict::Fail);
        let mut silent = look("a", 0, 0);
        silent.answer = Err("reset".to_owned());
        assert_eq!(verdict(&[], &[silent]), Verdict::Fail);
    }
}
