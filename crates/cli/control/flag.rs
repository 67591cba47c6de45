//! `portcullis flag`: for whom features are on. Never decides for anybody.

use std::process::ExitCode;

use clap::Args;
use portcullis_ops::decode::parse_percent;
use serde_json::{Value, json};

use super::client::{Client, Trouble, nothing};
use super::{Precondition, Target, finish, list, printable, row, step, table, text};

const HELP: &str = "\
Examples:
  portcullis flag                       all flags, and who said how they stand
  portcullis flag new_search            one of them
  portcullis flag new_search 20         on for 20 % of the clients; 0.25 works, too
  portcullis flag new_search off        off for everybody, also for those the file names
  portcullis flag new_search --reset    as file and environment have it again

A change holds through reloads until the file says something else of the flag or the edge ends.

Exit codes:
  0  listed or changed
  1  there is no such flag, or the edge refused
  2  wrong usage of the command line, or no edge answers";

/// Show feature flags, or change for whom one is on
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Flag {
    /// Name of the flag; all by default
    name: Option<String>,
    /// `on` or `off` for everybody, or percent of the clients
    #[arg(value_name = "PERCENT|on|off", requires = "name", value_parser = setting)]
    to: Option<Value>,
    /// Give it back to file and environment
    #[arg(long, requires = "name", conflicts_with = "to")]
    reset: bool,
    #[command(flatten)]
    precondition: Precondition,
    #[command(flatten)]
    target: Target,
}

fn setting(text: &str) -> Result<Value, String> {
    if matches!(text, "on" | "off") {
        return Ok(json!(text));
    }
    let percent = parse_percent(text.strip_suffix('%').unwrap_or(text));
    let percent = percent.map(|hundredths| json!(f64::from(hundredths) / 100.0));
    percent.ok_or_else(|| {
        "write on, off, or a percentage from 0 to 100 with two digits behind the point at most"
            .to_owned()
    })
}

pub(crate) fn run(arguments: &Flag) -> anyhow::Result<ExitCode> {
    let client = arguments.precondition.client(&arguments.target)?;
    let console = arguments.target.console();
    let answered = match (&arguments.name, &arguments.to) {
        (Some(name), Some(to)) => {
            let path = format!("/v1/flags/{}/set", step(name));
            client.post(&path, &json!({ "to": to }))
        }
        (Some(name), None) if arguments.reset => {
            client.post(&format!("/v1/flags/{}/reset", step(name)), &nothing())
        }
        (name, _) => shown(&client, name.as_deref()),
    };
    Ok(finish(answered.map(|answered| {
        let page = match answered["flag"].is_null() {
            true => page(list(&answered, "flags")),
            false => printable(&line(&answered)),
        };
        console.answer(page, || answered.clone());
        ExitCode::SUCCESS
    })))
}

/// All flags, or the one that is asked for.
fn shown(client: &Client, name: Option<&str>) -> Result<Value, Trouble> {
    let mut all = client.get("/v1/flags")?;
    let Some(name) = name else {
        return Ok(all);
    };
    let flags = list(&all, "flags");
    let Some(flag) = flags
        .iter()
        .find(|flag| text(flag, "name") == name)
        .cloned()
    else {
        let names: Vec<&str> = flags.iter().map(|flag| text(flag, "name")).collect();
        let meant = portcullis_ops::decode::nearest(name, names.iter().copied());
        let hint = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are: {}", names.join(", ")),
        };
        let detail = format!("there is no flag `{name}`\n  hint: {hint}");
        return Err(Trouble::Refused {
            status: 404,
            detail,
        });
    };
    all["flags"] = json!([flag]);
    Ok(all)
}

fn page(flags: &[Value]) -> String {
    let heads: [&dyn std::fmt::Display; 7] = [
        &"FLAG", &"SETTING", &"SAID BY", &"KEY", &"ON", &"OFF", &"ROUTES",
    ];
    let mut rows = vec![row(heads)];
    for flag in flags {
        let routes: Vec<&str> = list(flag, "routes")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        rows.push(row([
            &text(flag, "name"),
            &of_setting(&flag["setting"]),
            &text(flag, "said_by"),
            &text(flag, "key"),
            &flag["requests_on"],
            &flag["requests_off"],
            &routes.join(", "),
        ]));
    }
    table(&rows)
}

fn line(changed: &Value) -> String {
    let flag = &changed["flag"];
    let (now, before) = (of_setting(&flag["setting"]), of_setting(&changed["before"]));
    format!("{}: {now} (was {before})", text(flag, "name"))
}

fn of_setting(setting: &Value) -> String {
    match setting.as_str() {
        Some(word) => word.to_owned(),
        None => format!("{setting} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_word_or_a_percentage() {
        for (text, value) in [
            ("on", json!("on")),
            ("off", json!("off")),
            ("20", json!(20.0)),
            ("12.5%", json!(12.5)),
            ("0", json!(0.0)),
            ("1", json!(1.0)),
        ] {
            assert_eq!(setting(text), Ok(value), "{text}");
        }
        for wrong in ["", "ON", "101", "-1", "0.125", "true"] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_are_a_table() {
        let flags = [json!({
            "name": "new_search", "setting": 12.5, "said_by": "operator", "key": "cookie:user",
            "requests_on": 3, "requests_off": 21, "routes": ["new", "newer"],
        })];
        assert_eq!(
            page(&flags),
            "FLAG        SETTING  SAID BY   KEY          ON  OFF  ROUTES\n\
             new_search  12.5 %   operator  cookie:user  3   21   new, newer"
        );
    }
}
