//! The commands over the operator's API, against a running edge.

use std::process::{Output, Stdio};
use std::time::Duration;

use portcullis_testkit::{Behavior, Endpoint, Health, free_port, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::harness::{ADMIN_TOKEN, Edge, PORTCULLIS};
use crate::native::Setup;

/// A command with nothing of this process's surroundings, and with the token.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PORTCULLIS);
    command
        .args(arguments)
        .env_remove("PORTCULLIS_ADMIN")
        .env("PORTCULLIS_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command at an edge.
async fn run(edge: &Edge, arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    command.env("PORTCULLIS_ADMIN", edge.admin().to_string());
    command.output().await.unwrap()
}

/// Runs a command that succeeds, and returns what it printed.
async fn good(edge: &Edge, arguments: &[&str]) -> String {
    let output = run(edge, arguments).await;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        complaint(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn document(edge: &Edge, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&good(edge, &arguments).await).unwrap()
}

/// What a command that was refused says.
async fn refused(edge: &Edge, arguments: &[&str]) -> String {
    let output = run(edge, arguments).await;
    assert_eq!(
        output.status.code(),
        Some(1),
        "{arguments:?}: {}",
        complaint(&output)
    );
    complaint(&output)
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn the_later_of_two_operators_is_told_what_the_other_one_changed() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b]).with_token().start().await;
    let (one, other) = (a.address().to_string(), b.address().to_string());
    let seen = document(&edge, &["status"]).await["revision"].to_string();
    good(&edge, &["drain", "main", &one, "--if-match", &seen]).await;
    let told = refused(&edge, &["drain", "main", &other, "--if-match", &seen]).await;
    let change = format!("revision 2 by admin: clusters/main/endpoints/{one}/drain");
    assert!(
        told.contains("look again") && told.contains(&change),
        "{told}"
    );
    assert_eq!(
        edge.get("/").await.endpoint(),
        "b",
        "nothing else was drained"
    );
    for command in [
        &["weight", "main", &other, "5"][..],
        &["undrain", "main", &one],
        &["switch", "all", "main"],
        &["split", "all", "main=5"],
        &["flag", "x", "on"],
        &["ban", "192.0.2.1"],
        &["unban", "192.0.2.1"],
        &["reload"],
        &["rollback"],
    ] {
        let told = refused(&edge, &[command, &["--if-match", "1"]].concat()).await;
        assert!(
            told.contains("decided before revision 2"),
            "{command:?}: {told}"
        );
    }
    good(&edge, &["undrain", "main", &one, "--if-match", "2"]).await;
}

#[tokio::test]
async fn what_was_changed_and_which_configurations_ran_is_listed() {
    let a = Endpoint::start("a").await;
    let edge = Setup::new(&[&a]).with_token().start().await;
    good(&edge, &["ban", "192.0.2.1"]).await;
    refused(&edge, &["unban", "192.0.2.2"]).await;
    let shown = good(&edge, &["audit"]).await;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].contains("admin  bans/add     done"), "{shown}");
    assert!(lines[2].contains("admin  bans/remove  refused"), "{shown}");
    let last = document(&edge, &["audit", "--last", "1"]).await;
    assert_eq!(last["entries"].as_array().unwrap().len(), 1);
    assert_eq!(last["entries"][0]["what"], "bans/remove");
    let mut next = edge.config();
    next["zone"] = json!("elsewhere");
    edge.reload(&next).await;
    edge.write_text("listeners: [");
    refused(&edge, &["reload"]).await;
    let shown = good(&edge, &["history"]).await;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines[1].starts_with("2 ") && lines[1].ends_with("sighup (in force)"),
        "{shown}"
    );
    assert!(
        lines[2].starts_with("1 ") && lines[2].ends_with("startup"),
        "{shown}"
    );
    assert!(lines[3].starts_with("refused since (admin): "), "{shown}");
    let history = document(&edge, &["history"]).await;
    assert_eq!(history["configurations"][0]["number"], 2);
}

#[tokio::test]
async fn commands_change_endpoints_and_tell_what_is_in_force() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b]).with_token().start().await;
    let address = a.address().to_string();
    let drained = good(&edge, &["drain", "main", &address]).await;
    assert!(drained.contains("draining"), "{drained}");
    assert_eq!(edge.get("/").await.endpoint(), "b");
    let shown = good(&edge, &["status"]).await;
    let line = shown.lines().find(|line| line.contains(&address)).unwrap();
    assert!(line.contains("drained by the operator"), "{shown}");
    let back = document(&edge, &["undrain", "main", &address]).await;
    assert_eq!(back["state"], "in");
    let weighed = document(&edge, &["weight", "main", &address, "7"]).await;
    assert_eq!(weighed["weight"], 7);
    let status = document(&edge, &["status"]).await;
    assert_eq!(status["clusters"][0]["endpoints"][0]["weight"], 7);
    assert_eq!(status["revision"], 4);
}

#[tokio::test]
async fn a_drain_waits_for_what_is_in_flight_under_load() {
    let pause = Duration::from_millis(300);
    let (slow, other) = (
        Endpoint::with("slow", Behavior::Slow(pause)).await,
        Endpoint::start("other").await,
    );
    let edge = Setup::new(&[&slow, &other]).with_token().start().await;
    let http = edge.http();
    let clients = (0..8).map(|_| {
        tokio::spawn(async move {
            for _ in 0..10 {
                let answer = portcullis_testkit::client::get(http, "/").await.unwrap();
                assert_eq!(answer.status, 200);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    wait_until("requests at the slow one", async || {
        (slow.in_flight() > 2).then_some(())
    })
    .await;
    let address = slow.address().to_string();
    let late = ["drain", "main", &address, "--wait", "--timeout", "0"];
    let late = refused(&edge, &late).await;
    assert!(late.contains("still has"), "{late}");
    let drained = document(&edge, &["drain", "main", &address, "--wait"]).await;
    assert_eq!(drained["in_flight"], 0);
    assert_eq!(drained["state"], "draining");
    assert_eq!(slow.in_flight(), 0);
    let served = slow.requests();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(slow.requests(), served, "nobody came after the drain");
}

#[tokio::test]
async fn commands_send_routes_elsewhere_and_back() {
    let (blue, green) = (
        Endpoint::start("blue").await,
        Endpoint::start("green").await,
    );
    let split = json!([
        { "cluster": "main", "weight": 1 },
        { "cluster": "green", "weight": 0 },
    ]);
    let edge = Setup::new(&[&blue])
        .cluster("green", &[&green])
        .with_token()
        .set(
            "routes.0",
            json!({ "name": "all", "path": "/", "split": split }),
        )
        .start()
        .await;
    let switched = good(&edge, &["switch", "all", "green"]).await;
    assert_eq!(switched, "all: green=1 main=0 (was green=0 main=1)\n");
    assert_eq!(edge.get("/").await.endpoint(), "green");
    good(&edge, &["switch", "all", "--back"]).await;
    assert_eq!(edge.get("/").await.endpoint(), "blue");
    let shares = document(&edge, &["split", "all", "main=95", "green=5"]).await;
    assert_eq!(shares["now"], json!({ "main": 95, "green": 5 }));
    let typo = refused(&edge, &["switch", "al", "green"]).await;
    assert!(typo.contains("Did you mean `all`?"), "{typo}");
    let typo = refused(&edge, &["switch", "all", "gren"]).await;
    assert!(typo.contains("Did you mean `green`?"), "{typo}");
}

#[tokio::test]
async fn a_health_check_on_command_tells_what_it_found() {
    let endpoint = Endpoint::start("a").await;
    let check =
        json!({ "path": "/health/ready", "interval": "1h", "timeout": "1s", "rise": 1, "fall": 1 });
    let edge = Setup::new(&[&endpoint])
        .with_token()
        .set("clusters.main.health", check)
        .start()
        .await;
    let found = good(&edge, &["health-check"]).await;
    assert!(found.contains("pass"), "{found}");
    endpoint.set_health(Health::Failing);
    let found = run(&edge, &["health-check", "main"]).await;
    let text = String::from_utf8_lossy(&found.stdout);
    assert_eq!(found.status.code(), Some(1), "{text}");
    assert!(
        text.contains("fail") && text.contains("answered 500"),
        "{text}"
    );
    let typo = refused(&edge, &["health-check", "mian"]).await;
    assert!(typo.contains("Did you mean `main`?"), "{typo}");
}

#[tokio::test]
async fn commands_keep_networks_out_and_let_them_in() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    good(&edge, &["ban", "203.0.113.0/24", "--for", "3600"]).await;
    let listed = document(&edge, &["bans"]).await;
    assert_eq!(listed["bans"][0]["network"], "203.0.113.0/24");
    assert!(listed["bans"][0]["until"].is_string());
    assert!(good(&edge, &["bans"]).await.contains("203.0.113.0/24"));
    good(&edge, &["unban", "203.0.113.0/24"]).await;
    refused(&edge, &["unban", "203.0.113.0/24"]).await;
    refused(&edge, &["ban", "nonsense"]).await;
}

#[tokio::test]
async fn a_watched_status_shows_requests_per_second() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    let mut watch = command(&["status", "--watch", "--json"])
        .env("PORTCULLIS_ADMIN", edge.admin().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next_line().await.unwrap().unwrap();
        let status: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(status["clusters"][0]["name"], "main");
    }
    let mut watch = command(&["status", "--watch"])
        .env("PORTCULLIS_ADMIN", edge.admin().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let address = endpoint.address().to_string();
    let rate = wait_until("a rate above nothing", async || {
        edge.get("/").await;
        let line = lines.next_line().await.unwrap().unwrap();
        let rate = line
            .contains(&address)
            .then(|| line.split_whitespace().nth(5))??;
        rate.parse::<u64>().ok().filter(|rate| *rate > 0)
    });
    assert!(rate.await > 0);
}

#[tokio::test]
async fn an_edge_is_found_and_a_token_is_never_an_argument() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    let file = edge.directory().join("edge.yaml");
    let by_file = command(&["status", "--config", file.to_str().unwrap()]);
    let by_address = command(&["status", "--admin", &edge.admin().to_string()]);
    for mut command in [by_file, by_address] {
        let output = command.output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    }
    let token = edge.directory().join("token");
    std::fs::write(&token, format!("{ADMIN_TOKEN}\n")).unwrap();
    let admin = edge.admin().to_string();
    let with_file = [
        "status",
        "--admin",
        &admin,
        "--token-file",
        token.to_str().unwrap(),
    ];
    let mut with_file = command(&with_file);
    let output = with_file
        .env_remove("PORTCULLIS_ADMIN_TOKEN")
        .output()
        .await;
    assert_eq!(output.unwrap().status.code(), Some(0));
    let mut without = command(&["status", "--admin", &admin]);
    let output = without
        .env_remove("PORTCULLIS_ADMIN_TOKEN")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        complaint(&output).contains("PORTCULLIS_ADMIN_TOKEN"),
        "{}",
        complaint(&output)
    );
    let wrong = command(&["status", "--admin", &admin, "--token", "x"])
        .output()
        .await
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[tokio::test]
async fn who_is_no_edge_and_what_is_no_command_are_told() {
    let nobody = free_port();
    let address = nobody.address().to_string();
    let output = command(&["status", "--admin", &address])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = complaint(&output);
    assert!(
        told.contains(&format!("no edge answers at {address}")),
        "{told}"
    );
    assert!(told.contains("hint:"), "{told}");
    let endpoint = Endpoint::start("a").await;
    let address = endpoint.address().to_string();
    let output = command(&["status", "--admin", &address])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        complaint(&output).contains("is no edge"),
        "{}",
        complaint(&output)
    );
    let output = command(&["drian", "main", "x"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        complaint(&output).contains("'drain'"),
        "{}",
        complaint(&output)
    );
}

#[tokio::test]
async fn an_endpoint_may_be_named_by_its_beginning_if_nobody_else_fits() {
    let (a, b) = (Endpoint::start("a").await, Endpoint::start("b").await);
    let edge = Setup::new(&[&a, &b]).with_token().start().await;
    let several = refused(&edge, &["drain", "main", "127.0.0.1"]).await;
    assert!(several.contains("fits several endpoints"), "{several}");
    let unknown = refused(&edge, &["drain", "main", "192.0.2.1"]).await;
    assert!(unknown.contains(&a.address().to_string()), "{unknown}");
    let cluster = refused(&edge, &["drain", "mian", "127.0.0.1"]).await;
    assert!(cluster.contains("Did you mean `main`?"), "{cluster}");
}

#[tokio::test]
async fn a_reload_on_command_is_planned_made_undone_and_refused() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint]).with_token().start().await;
    let file = edge.directory().join("edge.yaml");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    config["routes"][0]["path"] = json!("/app");
    std::fs::write(&file, config.to_string()).unwrap();
    let planned = good(&edge, &["reload", "--plan"]).await;
    assert!(
        planned.contains("/app") && planned.contains("would come into force"),
        "{planned}"
    );
    assert_eq!(edge.get("/").await.status, 200, "nothing was changed");
    let made = document(&edge, &["reload"]).await;
    assert_eq!(made["changes"].as_array().unwrap().len(), 1, "{made}");
    assert_eq!(edge.get("/").await.status, 404);
    good(&edge, &["rollback"]).await;
    assert_eq!(edge.get("/").await.status, 200);
    config["routes"][0]["cluster"] = json!("mian");
    std::fs::write(&file, config.to_string()).unwrap();
    let mistakes = refused(&edge, &["reload"]).await;
    assert!(mistakes.contains("edge.yaml:1:"), "{mistakes}");
    assert!(mistakes.contains("did you mean `main`?"), "{mistakes}");
    assert_eq!(edge.get("/").await.status, 200, "the old one serves on");
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_without_secrets_before_and_after_a_reload() {
    let endpoint = Endpoint::start("a").await;
    let edge = Setup::new(&[&endpoint])
        .with_token()
        .set("routes.0.request_headers.set.X-Api-Key", json!("sesame"))
        .start()
        .await;
    let started = document(&edge, &["config"]).await;
    assert_eq!(started["origin"], "startup");
    assert_eq!(started["config"]["routes"][0]["path"], "/");
    let shown = good(&edge, &["config"]).await;
    for secret in [ADMIN_TOKEN, "sesame"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(shown.matches("(hidden)").count(), 2, "{shown}");
    let file = edge.directory().join("edge.yaml");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    config["routes"][0]["path"] = json!("/app");
    std::fs::write(&file, config.to_string()).unwrap();
    let before = document(&edge, &["config"]).await;
    assert_eq!(before, started, "it is not the file that is shown");
    good(&edge, &["reload"]).await;
    let after = document(&edge, &["config"]).await;
    assert_eq!(after["config"]["routes"][0]["path"], "/app");
    assert_eq!(after["number"], 2);
}
