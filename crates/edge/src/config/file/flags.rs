//! Feature flags as written. Never compares two values.

use portcullis_ops::decode::{Fields, Located, Mistake, nearest};
use portcullis_traffic::flag::{FlagId, Percent};

use super::super::flag::FlagKey;
use super::super::{names, words};

#[derive(Debug)]
pub(in crate::config) struct FileFlag {
    pub(in crate::config) name: Located<String>,
    /// `None` after a mistake.
    pub(in crate::config) percent: Option<Percent>,
    /// `None` after a mistake.
    pub(in crate::config) key: Option<FlagKey>,
    pub(in crate::config) on: Vec<Located<String>>,
    pub(in crate::config) off: Vec<Located<String>>,
}

/// In the order of their names, so that what they decide does not depend on where they are written.
pub(super) fn flags(file: &Fields<'_>) -> Vec<FileFlag> {
    let mut flags: Vec<FileFlag> = file.named("flags").into_iter().map(flag).collect();
    flags.sort_by(|one, other| one.name.value.cmp(&other.name.value));
    flags
}

fn flag((name, fields): (Located<String>, Fields<'_>)) -> FileFlag {
    if let Err(mistake) = flag_name(&name.value) {
        let message = format!("`{}` {}", names::shown(&name.value), mistake.message);
        let report = fields.report();
        report.error_with_hint(name.span, message, mistake.hint);
    }
    let percent = fields.optional_number("percent");
    FileFlag {
        percent: percent.and_then(|percent| Percent::from_hundredths(percent.value)),
        key: fields.text("key", flag_key).map(|key| key.value),
        on: fields.texts("on", words::value),
        off: fields.texts("off", words::value),
        name,
    }
}

/// The flag that some other part of the file asks for.
pub(super) fn wanted(flags: &[FileFlag], name: &str) -> Result<FlagId, Mistake> {
    let names = || flags.iter().map(|flag| flag.name.value.as_str());
    let found = names().position(|known| known == name).map(FlagId);
    found.ok_or_else(|| {
        let hint = match (nearest(name, names()), flags.is_empty()) {
            (Some(name), _) => format!("did you mean `{name}`?"),
            (None, true) => format!("write `flags: {{ {name}: {{ percent: 0 }} }}` first"),
            (None, false) => format!("known flags: {}", names().collect::<Vec<_>>().join(", ")),
        };
        Mistake::new("is no flag", hint)
    })
}

/// One that gives a variable of its own: no two differ in case or in what stands between words.
fn flag_name(text: &str) -> Result<(), Mistake> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_sound = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(is_inner)
        && text.len() <= NAME_CHARS_MAX;
    let hint = "lower-case letters, digits and _ only, a letter first, at most 64";
    is_sound
        .then_some(())
        .ok_or_else(|| Mistake::new("is not a usable name of a flag", hint))
}

fn flag_key(text: &str) -> Result<FlagKey, Mistake> {
    match text.split_once(':') {
        None if text == "client_address" => Ok(FlagKey::ClientAddress),
        Some(("header", name)) => names::header(name).map(FlagKey::Header),
        Some(("cookie", name)) => names::cookie(name).map(FlagKey::Cookie),
        Some(("claim", name)) if !name.is_empty() => Ok(FlagKey::Claim(name.to_owned())),
        _ => {
            let hint = "client_address, header:NAME, cookie:NAME or claim:NAME";
            Err(Mistake::new("is nothing to know a client by", hint))
        }
    }
}

const NAME_CHARS_MAX: usize = 64;
