//! Which configurations have run in this process, and where they came from. Never keeps more than a few,
//! and never shows their words: there may be secrets among them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

/// Configurations that can be gone back to, the present one included.
const KEPT: usize = 10;

/// Who wanted a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was started with it.
    Startup,
    /// SIGHUP.
    Sighup,
    /// The file changed.
    File,
    /// The operator asked.
    Admin,
    /// The operator went back to it.
    Rollback,
}

impl Origin {
    /// As logs, metrics and status say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Sighup => "sighup",
            Self::File => "file",
            Self::Admin => "admin",
            Self::Rollback => "rollback",
        }
    }
}

/// A configuration that came into force.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Counts from 1.
    pub number: u64,
    /// When it came.
    pub since: SystemTime,
    /// Who wanted it.
    pub origin: Origin,
    text: Option<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    refused: Option<(Origin, String)>,
}

impl History {
    pub(super) fn starting_with(text: Option<Arc<str>>) -> Self {
        let first = Entry {
            number: 1,
            since: SystemTime::now(),
            origin: Origin::Startup,
            text,
        };
        Self {
            entries: VecDeque::from([first]),
            refused: None,
        }
    }

    /// A configuration is in force; its number.
    pub(super) fn came(&mut self, origin: Origin, text: Arc<str>) -> u64 {
        let number = self.entries.back().map_or(1, |last| last.number + 1);
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            number,
            since: SystemTime::now(),
            origin,
            text: Some(text),
        });
        number
    }

    pub(super) fn succeeded(&mut self) {
        self.refused = None;
    }

    pub(super) fn refused(&mut self, origin: Origin, why: String) {
        self.refused = Some((origin, why));
    }

    /// The words of a configuration; without a number, of the last one that says something else than
    /// the present one.
    pub(super) fn text(&self, number: Option<u64>) -> Option<Arc<str>> {
        let present = self.entries.back()?;
        let mut entries = self.entries.iter().rev();
        let found = entries.find(|entry| match number {
            Some(number) => entry.number == number,
            None => entry.text != present.text,
        });
        found?.text.clone()
    }

    pub(super) fn shown(&self) -> (Vec<Entry>, Option<(Origin, String)>) {
        (self.entries.iter().cloned().collect(), self.refused.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(texts: &[&str]) -> History {
        let mut history = History::starting_with(Some("first".into()));
        for text in texts {
            history.came(Origin::Admin, (*text).into());
        }
        history
    }

    #[test]
    fn going_back_leads_to_the_last_that_was_different() {
        let mut history = history(&["second", "second"]);
        assert_eq!(history.text(None).as_deref(), Some("first"));
        history.came(Origin::Rollback, "first".into());
        assert_eq!(
            history.text(None).as_deref(),
            Some("second"),
            "and back again"
        );
        assert_eq!(history.text(Some(1)).as_deref(), Some("first"));
        assert_eq!(history.text(Some(7)), None);
    }

    #[test]
    fn only_the_last_ones_are_kept() {
        let texts: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let history = history(&texts);
        let (entries, _) = history.shown();
        assert_eq!(entries.len(), KEPT);
        assert_eq!((entries[0].number, entries[KEPT - 1].number), (12, 21));
    }

    #[test]
    fn the_first_of_all_leads_nowhere() {
        assert_eq!(history(&[]).text(None), None);
    }
}
