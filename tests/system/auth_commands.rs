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

/// Of the password that every test here logs in with.
const HASH: &str = "pbkdf2_sha256$1000$seasalt$DrdiWD40lyBuydnjvZiDrdQMx1S1mOA9O0QYex0R6ww=";

/// A file to import, as often as a test writes it.
struct Accounts {
    directory: tempfile::TempDir,
    name: String,
}

impl Accounts {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("accounts.jsonl");
        Self {
            name: name.display().to_string(),
            directory,
        }
    }

    /// The command on a file with these lines: how it ended, its answer, and all that it said.
    async fn import(&self, auth: &Auth, lines: &[String], flags: &[&str]) -> (i32, Value, String) {
        std::fs::write(&self.name, lines.join("\n")).unwrap();
        let import = ["user", "import", self.name.as_str(), "--json"];
        let (code, process) = auth.run(&[&import[..], flags].concat()).await;
        let told = process.stdout();
        let told = told
            .first()
            .unwrap_or_else(|| panic!("{}", process.output()));
        (code, serde_json::from_str(told).unwrap(), process.output())
    }
}

fn good_lines() -> Vec<String> {
    vec![
        format!(
            r#"{{"email":"{ADA}","password_hash":"{HASH}","roles":["clerk"],"verified":true}}"#
        ),
        String::new(),
        format!(r#"{{"email":"{BOB}","tier":"pro"}}"#),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_accounts_with_a_mistake_imports_nothing_unless_it_is_asked_to() {
    let (auth, accounts) = (Auth::start(1).await, Accounts::new());
    let mut lines = good_lines();
    lines.push(r#"{"email":"CANARY","password_hash":"CANARY"}"#.to_owned());
    lines.push(r#"{"email":"BOB@example.com"}"#.to_owned());
    let (code, told, output) = accounts.import(&auth, &lines, &[]).await;
    assert_eq!((code, &told["added"]), (1, &0.into()), "{output}");
    assert!(output.contains("line 4: `email`"), "{output}");
    assert!(
        output.contains("line 5: `email` is that of line 3"),
        "{output}"
    );
    assert!(!output.contains("CANARY"), "{output}");
    let listed = async || done(&auth, &["user", "list", "--json"]).await.len();
    assert_eq!(listed().await, 0);
    let flags = ["--keep-going", "--dry-run"];
    let (code, told, output) = accounts.import(&auth, &lines, &flags).await;
    assert_eq!((code, &told["added"]), (3, &2.into()), "{output}");
    assert_eq!(listed().await, 0, "only told");
    let (code, told, output) = accounts.import(&auth, &lines, &["--keep-going"]).await;
    assert_eq!((code, &told["left_out"]), (3, &2.into()), "{output}");
    assert_eq!(told["mistakes"][1]["line"], 5);
    assert_eq!(listed().await, 2);
    let nowhere = accounts.directory.path().join("nowhere");
    let import = ["user", "import", nowhere.to_str().unwrap()];
    refused(&auth, &import, "cannot import").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_accounts_log_in_as_before_and_importing_again_is_harmless() {
    let (auth, accounts) = (Auth::start(1).await, Accounts::new());
    let mut lines = good_lines();
    for (added, present) in [(2, 0), (0, 2)] {
        let (code, told, output) = accounts.import(&auth, &lines, &[]).await;
        let counts = (&told["added"], &told["present"]);
        assert_eq!(
            (code, counts),
            (0, (&added.into(), &present.into())),
            "{output}"
        );
    }
    let listed = done(&auth, &["user", "list", "--json"]).await;
    assert_eq!(listed[0]["roles"], serde_json::json!(["clerk"]));
    assert_eq!(listed[1]["tier"], "pro");
    let events = ["audit", "list", "--json", "--event", "account_imported"];
    let events = done(&auth, &events).await;
    let events = events.iter().filter(|line| line["event"].is_string());
    assert_eq!(events.count(), 2);
    // Ada's password goes on; Bob has none that anybody could type.
    assert!(!auth.log_in(0).await.is_empty());
    let body = serde_json::json!({ "email": BOB, "password": "correct horse battery" });
    let address = auth.instances[0].address();
    let mut connection = portcullis_testkit::Connection::open(address).await.unwrap();
    let refused = connection.post_json("/api/v1/auth/login", &body).await;
    assert_eq!(refused.unwrap().status, 401);
    lines.push(r#"{"email":"cyd@example.com"}"#.to_owned());
    let (_, told, output) = accounts.import(&auth, &lines, &[]).await;
    assert_eq!(told["added"], 1, "a file that grew: {output}");
}
