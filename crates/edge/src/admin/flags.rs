//! Feature flags as operators see and change them. Never decides for anybody.

use portcullis_traffic::flag::{Percent, Setting};
use serde_json::{Map, Value, json};

use super::answer::Refused;
use super::apply::Applied;
use crate::state::{Edge, Said, Snapshot, Standing};
use crate::unknown::no_such;

/// All flags, and who said how they stand.
pub(super) fn all(edge: &Edge) -> Value {
    let snapshot = edge.snapshot.load();
    let flags = snapshot.flags.all();
    let flags: Vec<Value> = flags.iter().map(told).collect();
    json!({ "flags": flags })
}

/// What the environment says instead of the file, by its variables.
pub(super) fn overrides(edge: &Edge) -> Value {
    let snapshot = edge.snapshot.load();
    let flags = snapshot.flags.all().into_iter();
    let overrides = flags.filter_map(|flag| {
        let setting = flag.config().overridden?;
        Some((flag.config().variable(), of_setting(setting)))
    });
    Value::Object(overrides.collect::<Map<_, _>>())
}

/// Has a flag stand otherwise, or as file and environment have it.
pub(super) fn change(edge: &Edge, name: &str, to: Option<Setting>) -> Result<Applied, Refused> {
    let changed = edge.set_flag(name, to);
    let snapshot = edge.snapshot.load();
    let changed = changed.map_err(|_unknown| unknown(&snapshot, name))?;
    let flag = snapshot.flags.named(name);
    let flag = flag.ok_or_else(|| unknown(&snapshot, name))?;
    Ok(Applied {
        answer: json!({ "before": of_setting(changed.before), "flag": told(&flag) }),
        before: of_setting(changed.before),
        after: of_setting(changed.now),
    })
}

/// What a flag shall be: `on`, `off` or a percentage.
pub(super) fn setting(value: &Value) -> Option<Setting> {
    match value {
        Value::String(word) if word == "on" => Some(Setting::On),
        Value::String(word) if word == "off" => Some(Setting::Off),
        Value::Number(percent) => {
            let hundredths = percent.as_f64()? * 100.0;
            let whole = hundredths.round();
            let is_exact = (hundredths - whole).abs() < 1e-6 && (0.0..=10_000.0).contains(&whole);
            let percent = is_exact.then(|| Percent::from_hundredths(whole as u16))?;
            percent.map(Setting::Share)
        }
        _ => None,
    }
}

fn of_setting(setting: Setting) -> Value {
    match setting {
        Setting::On => json!("on"),
        Setting::Off => json!("off"),
        Setting::Share(percent) => of_percent(percent),
    }
}

/// Whole ones without a point.
fn of_percent(percent: Percent) -> Value {
    let hundredths = percent.hundredths();
    match hundredths % 100 {
        0 => json!(hundredths / 100),
        _ => json!(f64::from(hundredths) / 100.0),
    }
}

fn told(flag: &Standing<'_>) -> Value {
    let config = flag.config();
    let (on, off) = flag.decisions();
    json!({
        "name": flag.name(),
        "setting": of_setting(flag.setting()),
        "said_by": match flag.said() {
            Said::File => "file",
            Said::Environment => "environment",
            Said::Operator => "operator",
        },
        "file": of_percent(config.percent),
        "environment": config.overridden.map(of_setting),
        "variable": config.variable(),
        "key": config.key.to_string(),
        "keys_on": config.rollout.on.len(),
        "keys_off": config.rollout.off.len(),
        "routes": flag.routes(),
        "requests_on": on,
        "requests_off": off,
    })
}

fn unknown(snapshot: &Snapshot, name: &str) -> Refused {
    let flags = snapshot.flags.all();
    let names = flags.iter().map(Standing::name);
    Refused::NotFound(no_such("flag", name, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_word_or_a_percentage() {
        let share = |hundredths| {
            Some(Setting::Share(
                Percent::from_hundredths(hundredths).unwrap(),
            ))
        };
        for (value, expected) in [
            (json!("on"), Some(Setting::On)),
            (json!("off"), Some(Setting::Off)),
            (json!(0), share(0)),
            (json!(20), share(2_000)),
            (json!(0.29), share(29)),
            (json!(99.99), share(9_999)),
            (json!(100.0), share(10_000)),
            (json!(100.01), None),
            (json!(-0.01), None),
            (json!(0.125), None),
            (json!("20"), None),
            (json!(true), None),
            (json!(1e300), None),
            (Value::Null, None),
        ] {
            assert_eq!(setting(&value), expected, "{value}");
        }
        for percent in [0, 29, 2_000, 10_000] {
            let percent = Percent::from_hundredths(percent).unwrap();
            assert_eq!(setting(&of_percent(percent)), Some(Setting::Share(percent)));
        }
    }
}
