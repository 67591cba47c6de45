//! Features that are on for a share of the clients. Never asks who a client is.

use http::HeaderName;
use portcullis_ops::decode::{Mistake, parse_percent};
use portcullis_traffic::flag::{Percent, Rollout, Setting};

/// One feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, and what is said of single keys.
    pub rollout: Rollout,
    /// What clients are known by.
    pub key: FlagKey,
    /// For how many the file has it on.
    pub percent: Percent,
    /// What the environment says instead.
    pub overridden: Option<Setting>,
}

/// What a client is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagKey {
    /// Its address, behind trusted proxies.
    ClientAddress,
    /// The first field of this name.
    Header(HeaderName),
    /// The first cookie of this name.
    Cookie(String),
    /// A claim of the bearer token, which is not verified: it chooses a feature, never a right.
    Claim(String),
}

impl Flag {
    /// What holds as long as no operator says otherwise.
    pub fn written(&self) -> Setting {
        self.overridden.unwrap_or(Setting::Share(self.percent))
    }

    /// The variable of the environment that goes before the file.
    pub fn variable(&self) -> String {
        variable(&self.rollout.name)
    }
}

impl std::fmt::Display for FlagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClientAddress => f.write_str("client_address"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Claim(name) => write!(f, "claim:{name}"),
        }
    }
}

/// Names are such that no two share a variable.
pub(super) fn variable(name: &str) -> String {
    format!("FF_{}", name.to_ascii_uppercase())
}

/// What such a variable says.
pub(super) fn setting(text: &str) -> Result<Setting, Mistake> {
    match text {
        "on" | "true" => return Ok(Setting::On),
        "off" | "false" => return Ok(Setting::Off),
        // On or one percent, off or testers only: nobody can know.
        "0" | "1" => {
            let word = if text == "0" { "off" } else { "on" };
            let hint = format!("write `{word}`, or `{text}%`");
            return Err(Mistake::new("may mean two things", hint));
        }
        _ => {}
    }
    let percent = parse_percent(text.strip_suffix('%').unwrap_or(text).trim_end());
    let percent = percent.and_then(Percent::from_hundredths);
    percent.map(Setting::Share).ok_or_else(|| {
        let hint = "write on, off, or a percentage such as 20%";
        Mistake::new("says nothing that a flag can be", hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_switches_or_gives_a_share() {
        let share = |hundredths| Setting::Share(Percent::from_hundredths(hundredths).unwrap());
        for (text, expected) in [
            ("on", Setting::On),
            ("true", Setting::On),
            ("off", Setting::Off),
            ("false", Setting::Off),
            ("20", share(2_000)),
            ("0%", share(0)),
            ("1%", share(100)),
            ("12.5 %", share(1_250)),
        ] {
            assert_eq!(setting(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "1", "yes", "ON", "101", "-1%", "%", "1%%"] {
            assert!(setting(text).is_err(), "{text}");
        }
        assert_eq!(variable("new_search"), "FF_NEW_SEARCH");
    }
}
