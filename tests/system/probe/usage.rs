//! What whoever types the command meets: exit codes, complaints, progress, and no secrets.

use std::process::Command;

use portcullis_testkit::{Deployment, Flaw, Process, free_port};
use tempfile::TempDir;

use super::{Visit, start};
use crate::harness::PORTCULLIS;

#[tokio::test]
async fn nobody_there_and_wrong_usage_are_2() {
    let port = free_port();
    let url = format!("http://{}", port.address());
    let visit = Visit::json(&[&url]).await;
    assert_eq!((visit.code, visit.stdout.as_str()), (2, ""));
    assert!(
        visit.stderr.contains("cannot reach http://"),
        "{}",
        visit.stderr
    );
    for arguments in [
        &["auth.example.com"][..],
        &["https://ada:secret@auth.example.com"],
        &[&url, "--requests", "1"],
        &[&url, "--health-path", "health"],
        &[&url, "--drain-command", "true"],
        &[&url, "--user", "ada@example.com"],
        &[
            &url,
            "--cacert",
            "/nowhere.pem",
            "--tls",
            "--instances",
            "x",
        ],
        &["https://localhost:1", "--cacert", "/nowhere.pem"],
        &[],
    ] {
        let visit = Visit::json(arguments).await;
        assert_eq!(visit.code, 2, "{arguments:?}: {}", visit.stderr);
        assert_ne!(visit.stderr, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn people_get_progress_a_table_and_advice() {
    let deployment = Deployment::start(None).await;
    let mut command = Command::new(PORTCULLIS);
    command.args(["probe", &deployment.url(), "--health-only"]);
    let visit = Visit::end(Process::spawn(command)).await;
    assert_eq!(visit.code, 0);
    assert!(
        visit.stderr.contains("visiting http://"),
        "{}",
        visit.stderr
    );
    assert!(visit.stderr.contains("health pass:"), "{}", visit.stderr);
    assert!(
        visit.stdout.contains("health        pass     3 paths"),
        "{}",
        visit.stdout
    );
    assert!(
        visit.stdout.contains("good: 1 passed, 0 failed"),
        "{}",
        visit.stdout
    );
}

#[tokio::test]
async fn what_is_asked_for_and_cannot_be_tried_has_failed() {
    let deployment = Deployment::start(None).await;
    let visit = Visit::json(&[&deployment.url(), "--revocation"]).await;
    assert_eq!(visit.code, 1);
    assert_eq!(visit.with_verdict("fail"), ["logout"]);
    let unasked = Visit::json(&[&deployment.url()]).await;
    assert_eq!(unasked.code, 0, "{:#}", unasked.document());
    let skipped = [
        "tls",
        "forwarding",
        "logout",
        "failover",
        "reassignment",
        "limits",
    ];
    assert_eq!(unasked.with_verdict("skipped"), skipped);
}

#[tokio::test]
async fn a_password_comes_from_a_file_and_is_shown_nowhere() {
    let deployment = Deployment::start(None).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, format!("{}\n", Deployment::PASSWORD)).unwrap();
    let url = deployment.url();
    let mut arguments = vec![url.as_str(), "--revocation", "--user", Deployment::EMAIL];
    arguments.extend(["--password-file", file.to_str().unwrap()]);
    let visit = Visit::end(start(&arguments, "")).await;
    assert_eq!(visit.code, 0, "{}", visit.stdout);
    for stream in [&visit.stdout, &visit.stderr] {
        assert!(!stream.contains(Deployment::PASSWORD) && !stream.contains("token-"));
    }
}

#[tokio::test]
async fn a_password_sent_in_the_clear_is_noted_once_and_changes_no_verdict() {
    let count = |text: &str| text.matches("sent in the clear").count();
    let plain = Deployment::start(None).await;
    let url = plain.url();
    let mut command = Command::new(PORTCULLIS);
    command.args(["probe", &url, "--revocation", "--user", Deployment::EMAIL]);
    command.env("PORTCULLIS_PROBE_PASSWORD", Deployment::PASSWORD);
    let people = Visit::end(Process::spawn(command)).await;
    assert_eq!((people.code, count(&people.stdout)), (0, 1));
    let arguments = [&url, "--revocation", "--user", Deployment::EMAIL];
    let machine = Visit::end(start(&arguments, Deployment::PASSWORD)).await;
    assert_eq!(machine.with_verdict("pass"), ["logout"]);
    let notes = machine.document()["notes"].clone();
    assert_eq!(notes.as_array().map(Vec::len), Some(1));
    assert_eq!(count(&machine.stdout), 1);
    let secure = Deployment::start_with_tls(None).await;
    let (url, authorities) = (secure.url(), secure.authorities());
    let mut arguments = vec![&*url, "--revocation", "--user", Deployment::EMAIL];
    arguments.extend(["--cacert", authorities.to_str().unwrap()]);
    let secure = Visit::end(start(&arguments, Deployment::PASSWORD)).await;
    assert_eq!((secure.code, count(&secure.stdout)), (0, 0));
}

#[tokio::test]
async fn weights_that_are_known_are_no_fault() {
    let deployment = Deployment::start(Some(Flaw::OneInstanceIsPreferred)).await;
    let url = deployment.url();
    let code = async |more: &'static str| {
        let visit = Visit::json(&[&url, "--load-distribution", more]).await;
        (visit.code, visit.check("distribution"))
    };
    assert_eq!(code("--weights=1,4,1").await.0, 0);
    assert_eq!(code("--tolerance=200").await.0, 0);
    let (found, distribution) = code("--weights=1,1,1").await;
    assert_eq!(found, 1);
    assert!(distribution["figures"]["p_value"].as_f64().unwrap() < 1e-6);
    assert_eq!(distribution["figures"]["deviation_percent"], 100.0);
}

#[tokio::test]
async fn a_bad_certificate_is_only_something_to_look_at_where_nobody_minds() {
    let deployment = Deployment::start_with_tls(Some(Flaw::CertificateExpired)).await;
    let (url, authorities) = (deployment.url(), deployment.authorities());
    let arguments = [&url, "--cacert", authorities.to_str().unwrap(), "--tls"];
    assert_eq!(Visit::json(&arguments).await.code, 1);
    let visit = Visit::json(&[&arguments[..], &["--insecure"]].concat()).await;
    assert_eq!(visit.code, 0);
    assert_eq!(visit.with_verdict("warn"), ["tls"]);
    // Nor is that a leave to show a password to whoever answers.
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, Deployment::PASSWORD).unwrap();
    let mut revocation = vec![&*url, "--insecure", "--revocation", "--user"];
    revocation.extend([Deployment::EMAIL, "--password-file", file.to_str().unwrap()]);
    let visit = Visit::json(&revocation).await;
    assert_eq!(visit.code, 1);
    let logout = visit.check("logout")["summary"].clone();
    let reason = "asked for, but no password is sent where the certificate is bad";
    assert_eq!(logout, reason);
    // Without the check that would say so, nobody is visited over it.
    let unjudged = [
        &url,
        "--cacert",
        authorities.to_str().unwrap(),
        "--health-only",
    ];
    let visit = Visit::json(&unjudged).await;
    assert_eq!(visit.code, 2);
    assert!(
        visit.stderr.contains("not to be trusted"),
        "{}",
        visit.stderr
    );
}

#[tokio::test]
async fn a_drain_command_that_fails_is_told() {
    let deployment = Deployment::start(None).await;
    let url = deployment.url();
    let mut arguments = vec![url.as_str(), "--failover", "--watch", "1"];
    arguments.extend(["--drain-command", "exit 3"]);
    let visit = Visit::json(&arguments).await;
    let complaint = "warning: \"exit 3\" ended with exit status: 3";
    assert!(visit.stderr.contains(complaint), "{}", visit.stderr);
    assert_eq!(
        (visit.code, visit.with_verdict("fail")),
        (1, vec!["failover".to_owned()])
    );
}
