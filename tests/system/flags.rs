//! Features that some of the clients have: who, who says so, and that nothing but a change of that
//! changes it.

use std::process::Command;

use portcullis_testkit::{Endpoint, client};
use serde_json::{Value, json};

use super::Setup;
use crate::harness::{ADMIN_TOKEN, Edge, PORTCULLIS};

const DECISIONS: &str = "portcullis_edge_flag_decisions_total";
const PERCENT: &str = "portcullis_edge_flag_percent";

/// Who has the feature `new` gets `new`, others get `old`.
fn setup(unused: &Endpoint, flag: &Value) -> Setup {
    Setup::new(&[unused])
        .with_token()
        .set("flags", json!({ "new": flag }))
        .set(
            "routes",
            json!([
                { "path": "/unused", "cluster": "main" },
                { "name": "old", "respond": { "body": "old" } },
                { "name": "new", "flags": ["new"], "respond": { "body": "new" } },
            ]),
        )
}

async fn answer(edge: &Edge, fields: &[(&str, &str)]) -> String {
    let mut client = edge.connect().await;
    client
        .request("GET", "/", fields, b"")
        .await
        .unwrap()
        .text()
}

/// Which of so many users have it.
async fn having(edge: &Edge, users: usize) -> Vec<bool> {
    let mut client = edge.connect().await;
    let mut having = Vec::new();
    for user in 0..users {
        let user = format!("user-{user}");
        let fields = [("X-User", user.as_str())];
        let answer = client.request("GET", "/", &fields, b"").await.unwrap();
        having.push(answer.text() == "new");
    }
    having
}

fn count(having: &[bool]) -> usize {
    having.iter().filter(|has| **has).count()
}

async fn set(edge: &Edge, to: Value) {
    let changed = edge.change("flags/new/set", &json!({ "to": to })).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
}

/// The flag as operators see it.
async fn shown(edge: &Edge) -> Value {
    let shown: Value = serde_json::from_str(&edge.ask("flags").await.text()).unwrap();
    shown["flags"][0].clone()
}

fn with_percent(edge: &Edge, percent: f64) -> Value {
    let mut config = edge.config();
    config["flags"]["new"]["percent"] = json!(percent);
    config
}

#[tokio::test]
async fn a_share_of_the_users_has_it_and_keeps_it_while_it_grows() {
    const USERS: usize = 400;
    let unused = Endpoint::start("unused").await;
    let flag = json!({ "percent": 0, "key": "header:X-User" });
    let edge = setup(&unused, &flag).start().await;
    let mut before = vec![false; USERS];
    for (percent, range) in [
        (0.5, 0..12),
        (10.0, 15..70),
        (50.0, 155..245),
        (100.0, 400..401),
    ] {
        edge.reload(&with_percent(&edge, percent)).await;
        let now = having(&edge, USERS).await;
        assert_eq!(now, having(&edge, USERS).await, "a second look");
        assert!(
            range.contains(&count(&now)),
            "{} at {percent} %",
            count(&now)
        );
        let lost = before.iter().zip(&now).filter(|(was, is)| **was && !**is);
        assert_eq!(lost.count(), 0, "{percent} %");
        edge.wait_for_metric(PERCENT, &[("flag", "new")], percent)
            .await;
        before = now;
    }
    let all: f64 = edge.metric(DECISIONS, &[("flag", "new")]).await;
    assert_eq!(all, 8.0 * USERS as f64, "each request is decided on once");
}

#[tokio::test]
async fn clients_are_known_by_address_header_cookie_or_claim() {
    // {"sub":"ada"}, which nobody verifies here.
    const TOKEN: &str = "Bearer e30.eyJzdWIiOiJhZGEifQ.x";
    let unused = Endpoint::start("unused").await;
    let other = || ("Cookie", "user=bob");
    for (key, value, shown) in [
        ("client_address", "127.0.0.1", other()),
        ("header:X-User", "ada", ("x-user", "ada")),
        ("cookie:user", "ada", ("Cookie", "a=b; user=ada")),
        ("claim:sub", "ada", ("Authorization", TOKEN)),
    ] {
        let flag = json!({ "percent": 0, "key": key, "on": [value] });
        let edge = setup(&unused, &flag).start().await;
        assert_eq!(answer(&edge, &[shown]).await, "new", "{key}");
        if key != "client_address" {
            assert_eq!(answer(&edge, &[other()]).await, "old", "{key}");
            assert_eq!(answer(&edge, &[]).await, "old", "{key}");
        }
    }
}

#[tokio::test]
async fn single_users_have_it_first_or_never() {
    let unused = Endpoint::start("unused").await;
    let flag = json!({ "percent": 100, "key": "header:X-User", "on": ["ada"], "off": ["bob"] });
    let edge = setup(&unused, &flag).start().await;
    let of = async |user: &str| answer(&edge, &[("X-User", user)]).await;
    assert_eq!(
        (of("ada").await, of("bob").await),
        ("new".into(), "old".into())
    );
    assert_eq!(answer(&edge, &[]).await, "new", "everybody has it");
    set(&edge, json!(0)).await;
    assert_eq!(
        (of("ada").await, of("carol").await),
        ("new".into(), "old".into())
    );
    set(&edge, json!("off")).await;
    assert_eq!(of("ada").await, "old", "nobody at all");
    set(&edge, json!("on")).await;
    assert_eq!(of("bob").await, "new", "everybody at all");
}

#[tokio::test]
async fn an_operator_holds_through_reloads_until_the_file_says_otherwise() {
    let unused = Endpoint::start("unused").await;
    let edge = setup(&unused, &json!({ "percent": 10 })).start().await;
    set(&edge, json!(100)).await;
    assert_eq!(answer(&edge, &[]).await, "new");
    let flag = shown(&edge).await;
    assert_eq!(
        (&flag["setting"], &flag["said_by"], &flag["file"]),
        (&json!(100), &json!("operator"), &json!(10))
    );
    assert_eq!(flag["routes"], json!(["new"]));
    let mut other = edge.config();
    other["zone"] = json!("elsewhere");
    edge.reload(&other).await;
    assert_eq!(
        shown(&edge).await["said_by"],
        "operator",
        "the file says what it said"
    );
    edge.reload(&with_percent(&edge, 0.25)).await;
    let flag = shown(&edge).await;
    assert_eq!(
        (&flag["setting"], &flag["said_by"]),
        (&json!(0.25), &json!("file"))
    );
    set(&edge, json!("on")).await;
    let reset = edge.change("flags/new/reset", &json!({})).await;
    assert_eq!(reset.status, 200, "{}", reset.text());
    assert_eq!(shown(&edge).await["setting"], json!(0.25));
    let audit: Value = serde_json::from_str(&edge.ask("audit").await.text()).unwrap();
    let entries = audit["entries"].as_array().unwrap().iter();
    let entries = entries.filter(|entry| entry["what"] == "flags/new/set");
    let pairs: Vec<_> = entries
        .map(|one| (one["before"].clone(), one["after"].clone()))
        .collect();
    assert!(pairs.contains(&(json!(10), json!(100))), "{pairs:?}");
    let unknown = edge.change("flags/nwe/set", &json!({ "to": "on" })).await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.text().contains("Did you mean `new`?"),
        "{}",
        unknown.text()
    );
}

#[tokio::test]
async fn the_environment_goes_before_the_file_and_says_so() {
    let unused = Endpoint::start("unused").await;
    let setup = setup(&unused, &json!({ "percent": 100 }));
    let file = setup.directory().join("edge.yaml");
    let mut edge = setup.spawn_as(|mut command| {
        command.env("FF_NEW", "off");
        command
    });
    edge.wait_for_admin("/readyz", 200).await;
    assert_eq!(answer(&edge, &[]).await, "old");
    let flag = shown(&edge).await;
    assert_eq!(
        (&flag["setting"], &flag["said_by"]),
        (&json!("off"), &json!("environment"))
    );
    let config: Value = serde_json::from_str(&edge.ask("config").await.text()).unwrap();
    assert_eq!(config["environment"], json!({ "FF_NEW": "off" }));
    let told = "FF_NEW goes before the file: `new` is off";
    assert!(
        edge.process.output().contains(told),
        "{}",
        edge.process.output()
    );
    edge.reload(&with_percent(&edge, 50.0)).await;
    assert_eq!(answer(&edge, &[]).await, "old", "whatever the file says");
    set(&edge, json!("on")).await;
    assert_eq!(
        answer(&edge, &[]).await,
        "new",
        "an operator goes before both"
    );
    let check = |value: &str| {
        let mut command = Command::new(PORTCULLIS);
        command.arg("check").arg(&file).env("FF_NEW", value);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = check("off");
    assert!(code == Some(0) && text.contains(told), "{text}");
    let (code, text) = check("perhaps");
    assert!(
        code == Some(1) && text.contains("FF_NEW=`perhaps`"),
        "{text}"
    );
}

#[tokio::test]
async fn an_unknown_flag_is_refused_with_the_nearest_one() {
    let unused = Endpoint::start("unused").await;
    let edge = setup(&unused, &json!({ "percent": 100 })).start().await;
    let mut bad = edge.config();
    bad["routes"][2]["flags"] = json!(["nwe"]);
    edge.write(&bad);
    let refused = edge.change("reload", &json!({})).await;
    assert_eq!(refused.status, 422);
    let refused: Value = serde_json::from_str(&refused.text()).unwrap();
    let mistake = &refused["errors"][0];
    assert!(mistake["line"].as_u64() > Some(1), "{refused}");
    assert_eq!(mistake["hint"], "did you mean `new`?");
    assert_eq!(answer(&edge, &[]).await, "new", "nothing of it is in force");
}

#[tokio::test]
async fn flags_that_are_gone_leave_no_gauge() {
    let unused = Endpoint::start("unused").await;
    let edge = setup(&unused, &json!({ "percent": 100 })).start().await;
    let gauge = async || {
        let text = client::get(edge.admin(), "/metrics").await;
        text.unwrap().text().contains(&format!("{PERCENT}{{"))
    };
    assert!(gauge().await);
    let mut without = edge.config();
    without.as_object_mut().unwrap().remove("flags");
    without["routes"].as_array_mut().unwrap().pop();
    edge.reload(&without).await;
    assert!(!gauge().await);
    assert_eq!(answer(&edge, &[]).await, "old");
}

#[tokio::test]
async fn the_command_lists_and_changes_flags() {
    let unused = Endpoint::start("unused").await;
    let edge = setup(&unused, &json!({ "percent": 10 })).start().await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PORTCULLIS);
        command
            .arg("flag")
            .args(arguments)
            .env("PORTCULLIS_ADMIN", edge.admin().to_string())
            .env("PORTCULLIS_ADMIN_TOKEN", ADMIN_TOKEN);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run(&[]);
    assert!(code == Some(0) && text.contains("new   10 %"), "{text}");
    let (code, text) = run(&["new", "100"]);
    assert_eq!((code, text.trim_end()), (Some(0), "new: 100 % (was 10 %)"));
    assert_eq!(answer(&edge, &[]).await, "new");
    let (code, text) = run(&["new", "--reset", "--json"]);
    let reset: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &reset["flag"]["said_by"]), (Some(0), &json!("file")));
    let (code, text) = run(&["nwe"]);
    assert!(
        code == Some(1) && text.contains("did you mean `new`?"),
        "{text}"
    );
    assert_eq!(run(&["nwe", "on"]).0, Some(1));
    assert_eq!(run(&["new", "101"]).0, Some(2));
    assert_eq!(run(&["new", "on", "--reset"]).0, Some(2));
}
