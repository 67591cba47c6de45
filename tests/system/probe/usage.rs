//! What whoever types the command meets: exit codes, complaints, progress, and no secrets.

use std::process::Command;

use portcullis_testkit::{Deployment, Process, free_port};
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
