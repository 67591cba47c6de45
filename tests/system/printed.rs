//! What `portcullis up` prints: addresses, a set-up token, and lines that work exactly as printed.

use portcullis_testkit::{Process, client};
use serde_json::Value;

use crate::harness::up::{Place, Up};

/// The text below the last heading: comments and commands, as a person would paste it.
async fn printed_lines(up: &mut Up) -> String {
    up.process.wait_for_line("Try it").await;
    up.process.wait_for_line("/health").await;
    let lines = up.process.stdout();
    let heading = lines
        .iter()
        .position(|line| line.contains("Try it"))
        .unwrap();
    lines[heading + 1..].join("\n")
}

async fn run(script: &str) -> String {
    let mut shell = Process::start("sh", &["-c", script]);
    let code = shell.exit_code().await;
    assert_eq!(code, 0, "{}", shell.output());
    shell.stdout().join("\n")
}

#[tokio::test]
async fn printed_lines_work_exactly_as_printed() {
    let place = Place::new();
    let mut up = place.start().await;
    let script = printed_lines(&mut up).await;
    assert!(script.matches("curl ").count() >= 8, "{script}");
    let answers = run(&script).await;
    for expected in [
        "\"admin\"",
        "\"accepted\"",
        "\"access_token\"",
        "\"active\":true",
        "\"refresh_token\"",
        "\n204\n",
        "\n401\n",
    ] {
        assert!(
            answers.contains(expected),
            "{expected:?} in\n{answers}\nof\n{script}"
        );
    }
    let last = answers
        .rfind("HTTP/")
        .map(|start| answers[start..].to_lowercase())
        .unwrap();
    assert!(last.starts_with("http/2 200"), "{last}");
    assert!(
        last.contains("x-served-by:") && last.contains("x-instance-id:"),
        "{last}"
    );
}

#[tokio::test]
async fn addresses_are_printed_and_the_set_up_token_only_once() {
    let place = Place::new();
    {
        let mut up = place.start().await;
        let script = printed_lines(&mut up).await;
        let text = up.process.stdout().join("\n");
        let https = format!("https://localhost:{}", up.https.port());
        for url in [
            format!("http://{}", up.http),
            https,
            format!("http://{}/metrics", up.admin),
        ] {
            assert!(text.contains(&url), "{url} in\n{text}");
        }
        assert!(text.contains("Set-up token"), "{text}");
        let setup = script.lines().find(|line| line.contains("/setup")).unwrap();
        assert!(run(setup).await.contains("admin"));
        let again = run(setup).await;
        assert!(
            again.contains("403"),
            "a set-up token is good once: {again}"
        );
        up.process.signal(nix::sys::signal::Signal::SIGINT);
        assert_eq!(up.process.exit_code().await, 0);
    }
    let mut up = place.start().await;
    printed_lines(&mut up).await;
    let text = up.process.stdout().join("\n");
    assert!(
        !text.contains("Set-up token"),
        "there is an administrator now:\n{text}"
    );
}

#[tokio::test]
async fn machines_get_one_object_per_line() {
    let place = Place::new();
    let mut arguments = place.arguments();
    arguments.push("--json".to_owned());
    let mut process = Process::start(crate::harness::PORTCULLIS, &arguments);
    let line = process.wait_for_line("\"ready\"").await;
    let ready: Value = serde_json::from_str(&line).unwrap();
    let http = ready["http"]
        .as_str()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();
    assert_eq!(
        client::get(http.parse().unwrap(), "/health")
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(ready["instances"].as_array().unwrap().len(), 3);
    assert!(ready["setup_token"].is_string());
    process.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(process.exit_code().await, 0);
    for line in process.stdout() {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
}
