//! An operator's commands on accounts and on the audit log, as they are typed. Never looks into the database.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use portcullis_testkit::wait_until;
use serde_json::Value;

use crate::harness::PORTCULLIS;
use crate::harness::auth::Auth;

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const PASSWORD: &str = "CANARY battery staple";

/// Runs a command with something on its standard input.
fn typed(auth: &Auth, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(PORTCULLIS);
    command.arg("auth").args(arguments).envs(auth.variables());
    command.env("INTERNAL_ADDRESS", "127.0.0.1:8100");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

async fn done(auth: &Auth, arguments: &[&str]) -> Vec<Value> {
    let (code, process) = auth.run(arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {}", process.output());
    let lines = process.stdout();
    let read = |line: &String| serde_json::from_str(line).unwrap();
    lines.iter().map(read).collect()
}

async fn refused(auth: &Auth, arguments: &[&str], says: &str) {
    let (code, process) = auth.run(arguments).await;
    assert_eq!(code, 1, "{arguments:?}: {}", process.output());
    let told = process.stderr().join("\n");
    assert!(told.contains(says), "{arguments:?}: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_added_shown_changed_and_erased_by_command() {
    let auth = Auth::start(1).await;
    auth.log_in(0).await;
    let add = ["user", "add", BOB, "--role", "billing:read", "--json"];
    let added = typed(&auth, &add, &format!("{PASSWORD}\n"));
    assert!(added.status.success(), "{added:?}");
    let told = String::from_utf8_lossy(&added.stdout).into_owned();
    assert!(
        told.contains("billing:read") && !told.contains("CANARY"),
        "{told}"
    );
    for (input, says) in [
        (format!("{PASSWORD}\n"), "has the address"),
        (String::new(), "no password on standard input"),
        ("short\n".to_owned(), "refused"),
        ("password\n".to_owned(), "refused"),
    ] {
        let again = typed(&auth, &add, &input);
        let told = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(1), "{told}");
        assert!(told.contains(says) && !told.contains("CANARY"), "{told}");
    }
    let shown = done(&auth, &["user", "show", BOB, "--json"]).await;
    assert_eq!(shown[0]["roles"], serde_json::json!(["billing:read"]));
    // Names of earlier releases.
    for (verb, group) in [("list", "account"), ("list", "user")] {
        let listed = done(&auth, &[group, verb, "--json"]).await;
        assert_eq!(listed.len(), 2, "{group} {verb}");
    }
    let changed = done(&auth, &["account", "set-roles", BOB, "admin", "--json"]).await;
    assert_eq!(changed[0]["roles"], serde_json::json!(["admin"]));
    let shut = done(&auth, &["user", "disable", BOB, "--json"]).await;
    assert_eq!(shut[0]["status"], "disabled");
    refused(&auth, &["user", "show", "nobody@example.com"], "no account").await;
    refused(&auth, &["user", "erase", BOB], "--yes").await;
    let erased = done(&auth, &["user", "erase", BOB, "--yes", "--json"]).await;
    // Added, once more in vain, other roles, shut.
    assert_eq!(erased[0]["audit_lines"], 4);
    refused(&auth, &["user", "show", BOB], "no account").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_listed_verified_and_exported_by_command() {
    let auth = Auth::start(1).await;
    auth.log_in(0).await;
    let report = wait_until("a chain", async || {
        let report = done(&auth, &["audit", "verify", "--json"]).await;
        (report[0]["lines"].as_u64() >= Some(2)).then(|| report[0].clone())
    })
    .await;
    assert_eq!(report["whole"], true, "{report}");
    let end = report["end"].as_str().unwrap();
    done(&auth, &["audit", "verify", "--json", "--expect", end]).await;
    let elsewhere = format!("1:{}", "00".repeat(32));
    refused(&auth, &["audit", "verify", "--expect", &elsewhere], "").await;
    let filters = [
        "--account",
        ADA,
        "--since",
        "1h",
        "--event",
        "login_succeeded",
    ];
    let list = [&["audit", "list", "--json"][..], &filters].concat();
    let lines = done(&auth, &list).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["actor"], &lines[0]["outcome"]),
        (&"account".into(), &"done".into())
    );
    refused(&auth, &["audit", "list", "--event", "nonsense"], "nonsense").await;
    refused(&auth, &["audit", "list", "--cursor", "nonsense"], "cursor").await;
    let first = done(&auth, &["audit", "list", "--json", "--limit", "1"]).await;
    let next = first[1]["next"].as_str().unwrap();
    let second = done(
        &auth,
        &["audit", "list", "--json", "--limit", "1", "--cursor", next],
    )
    .await;
    assert_ne!(first[0]["id"], second[0]["id"]);
    let exported = done(&auth, &["audit", "export"]).await;
    let positions: Vec<_> = exported
        .iter()
        .filter_map(|line| line["position"].as_i64())
        .collect();
    assert!(
        positions.len() >= 2 && positions.is_sorted(),
        "{positions:?}"
    );
}
