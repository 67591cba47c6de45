//! Mistakes in a file, with the place where they are. Never decides what a mistake is, and never prints.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

/// More than this many mistakes in one file help nobody; the rest is only counted.
const DIAGNOSTICS_MAX: usize = 100;
/// Longest piece of a source line that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 160;

/// A text with the name people know it by.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins and, without its break, ends.
    lines: Vec<(usize, usize)>,
}

impl Source {
    /// `name` is what diagnostics print, usually the path as the user typed it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = line_bounds(&text);
        Self {
            name: name.into(),
            text,
            lines,
        }
    }

    /// The name diagnostics print.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line `number`, counted from 1, without its line break. Takes the same time for every line.
    pub fn line(&self, number: usize) -> Option<&str> {
        let (begin, end) = *self.lines.get(number.checked_sub(1)?)?;
        self.text.get(begin..end)
    }
}

/// A line feed, a carriage return, or both end a line (YAML 1.2.2 section 5.4).
fn line_bounds(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut lines = Vec::new();
    let mut begin = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let is_break = match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        if is_break {
            let is_pair = *byte == b'\n' && at > begin && bytes[at - 1] == b'\r';
            lines.push((begin, if is_pair { at - 1 } else { at }));
            begin = at + 1;
        }
    }
    lines.push((begin, bytes.len()));
    lines
}

/// A place in a [`Source`]: line and column count from 1, `length` is in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Counted from 1; 0 means the file as a whole.
    pub line: usize,
    /// Counted from 1 in characters.
    pub column: usize,
    /// Characters to underline, at least 1.
    pub length: usize,
}

/// Whether the file may be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but somebody should look.
    Warning,
}

/// One mistake: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Name of the file.
    pub file: String,
    /// Counted from 1; 0 means the file as a whole.
    pub line: usize,
    /// Counted from 1 in characters; 0 means the file as a whole.
    pub column: usize,
    /// Characters the mistake covers.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The offending line as written; values of secret keys are masked.
    pub source_line: Option<String>,
}

impl Diagnostic {
    /// A mistake that concerns a file as a whole, such as its absence.
    pub fn of_file(
        file: impl Into<String>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            length: 0,
            message: message.into(),
            hint,
            source_line: None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, ": {severity}{}", self.message)?;
        if let Some(line) = &self.source_line {
            let (shown, column) = window(line, self.column);
            let width = self
                .length
                .clamp(1, shown.chars().count().saturating_sub(column).max(1));
            let number = self.line;
            let gutter = " ".repeat(number.to_string().len());
            let (indent, carets) = (" ".repeat(column), "^".repeat(width));
            write!(f, "\n  {number} | {shown}\n  {gutter} | {indent}{carets}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The part of a line around `column` that fits a terminal, free of control characters, and where
/// the column is in it (from 0).
fn window(line: &str, column: usize) -> (String, usize) {
    let at = column.saturating_sub(1);
    let first = if at < SHOWN_CHARS_MAX {
        0
    } else {
        at - SHOWN_CHARS_MAX / 2
    };
    let shown = line.chars().skip(first).take(SHOWN_CHARS_MAX);
    (
        shown
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
        at - first,
    )
}

/// All mistakes of one file in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order of their places.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// A JSON array of objects with the fields of [`Diagnostic`].
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.0).expect("plain strings and numbers always serialise")
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Collects the mistakes of one source, so that all of them are told at once.
#[derive(Debug)]
pub struct Report<'a> {
    source: &'a Source,
    found: RefCell<Vec<Diagnostic>>,
    masked: RefCell<Vec<Span>>,
}

impl<'a> Report<'a> {
    /// An empty report on `source`.
    pub fn new(source: &'a Source) -> Self {
        Self {
            source,
            found: RefCell::default(),
            masked: RefCell::default(),
        }
    }

    /// What is reported on.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Something the file cannot be used with.
    pub fn error(&self, span: Span, message: impl Into<String>) {
        self.add(Severity::Error, span, message.into(), None);
    }

    /// The same, with what to do about it.
    pub fn error_with_hint(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Error, span, message.into(), Some(hint.into()));
    }

    /// Something that works but deserves a look.
    pub fn warning(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, span, message.into(), Some(hint.into()));
    }

    /// Keeps the text at `span` out of every diagnostic: it is a secret.
    pub fn mask(&self, span: Span) {
        self.masked.borrow_mut().push(span);
    }

    /// Whether an error was reported so far.
    pub fn has_errors(&self) -> bool {
        self.found
            .borrow()
            .iter()
            .any(|found| found.severity == Severity::Error)
    }

    /// Errors and warnings, each in the order of their places.
    pub fn finish(self) -> (Diagnostics, Diagnostics) {
        let masked = self.masked.into_inner();
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        for diagnostic in &mut found {
            if let Some(line) = &mut diagnostic.source_line {
                mask_line(line, diagnostic.line, &masked);
            }
        }
        let (errors, warnings) = found
            .into_iter()
            .partition(|found| found.severity == Severity::Error);
        (self.source.bounded(errors), self.source.bounded(warnings))
    }

    fn add(&self, severity: Severity, span: Span, message: String, hint: Option<String>) {
        self.found.borrow_mut().push(Diagnostic {
            severity,
            file: self.source.name.clone(),
            line: span.line,
            column: span.column,
            length: span.length,
            message,
            hint,
            source_line: self.source.line(span.line).map(str::to_owned),
        });
    }
}

impl Source {
    fn bounded(&self, mut found: Vec<Diagnostic>) -> Diagnostics {
        if let Some(rest @ 1..) = found.len().checked_sub(DIAGNOSTICS_MAX) {
            let severity = found[0].severity;
            found.truncate(DIAGNOSTICS_MAX);
            let last = Diagnostic::of_file(&self.name, format!("{rest} more like these"), None);
            found.push(Diagnostic { severity, ..last });
        }
        Diagnostics(found)
    }
}

/// Stars in place of secrets, as many as there are characters so that the caret stays in place.
fn mask_line(line: &mut String, number: usize, masked: &[Span]) {
    for span in masked.iter().filter(|span| span.line == number) {
        let secret = span.column..span.column + span.length;
        *line = (1..)
            .zip(line.chars())
            .map(|(column, c)| if secret.contains(&column) { '*' } else { c })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: usize, column: usize, length: usize) -> Span {
        Span {
            line,
            column,
            length,
        }
    }

    #[test]
    fn text_shows_place_line_caret_and_hint() {
        let source = Source::new("edge.yaml", "a: 1\nintervall: 10s\n");
        let report = Report::new(&source);
        report.error_with_hint(span(2, 1, 9), "unknown key", "did you mean `interval`?");
        let expected = "edge.yaml:2:1: unknown key\n  2 | intervall: 10s\n    | ^^^^^^^^^\n  \
                        hint: did you mean `interval`?";
        assert_eq!(report.finish().0.to_string(), expected);
    }

    #[test]
    fn caret_counts_characters_not_bytes() {
        let source = Source::new("f", "ключ: bad");
        let report = Report::new(&source);
        report.error(span(1, 7, 3), "no");
        assert_eq!(
            report.finish().0.to_string(),
            "f:1:7: no\n  1 | ключ: bad\n    |       ^^^"
        );
    }

    #[test]
    fn caret_never_runs_past_the_line() {
        let source = Source::new("f", "ab");
        let report = Report::new(&source);
        report.error(span(1, 2, 500), "no");
        assert!(report.finish().0.to_string().ends_with("| ab\n    |  ^"));
    }

    #[test]
    fn long_line_is_cut_around_the_column() {
        let source = Source::new("f", format!("{}X{}", "a".repeat(5_000), "b".repeat(5_000)));
        let report = Report::new(&source);
        report.error(span(1, 5_001, 1), "no");
        let text = report.finish().0.to_string();
        assert!(text.len() < 500, "{text}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1].find('X'), lines[2].find('^'));
    }

    #[test]
    fn control_characters_of_the_file_never_reach_the_terminal() {
        let source = Source::new("f", "a: \u{1b}[2Jx");
        let report = Report::new(&source);
        report.error(span(1, 1, 1), "no");
        assert!(!report.finish().0.to_string().contains('\u{1b}'));
    }

    #[test]
    fn file_as_a_whole_has_no_line() {
        let missing = Diagnostic::of_file("edge.yaml", "no such file", None);
        assert_eq!(missing.to_string(), "edge.yaml: no such file");
    }

    #[test]
    fn lines_end_in_any_of_the_three_ways() {
        let source = Source::new("f", "a\r\nb\rc\n\n\r\nd");
        let lines: Vec<_> = (1..=7).map(|number| source.line(number)).collect();
        let expected = ["a", "b", "c", "", "", "d"];
        assert_eq!(lines[..6], expected.map(Some));
        assert_eq!((lines[6], source.line(0)), (None, None));
    }

    #[test]
    fn mistakes_come_in_the_order_of_their_places() {
        let source = Source::new("f", "one\ntwo\n");
        let report = Report::new(&source);
        report.error(span(2, 1, 1), "c");
        report.error(span(1, 2, 1), "b");
        report.error(span(1, 1, 1), "a");
        let (errors, _) = report.finish();
        let messages: Vec<_> = errors.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, ["a", "b", "c"]);
    }

    #[test]
    fn warnings_are_kept_apart_and_say_so() {
        let source = Source::new("f", "one\n");
        let report = Report::new(&source);
        report.warning(span(1, 1, 3), "odd", "look");
        assert!(!report.has_errors());
        let (errors, warnings) = report.finish();
        assert!(errors.is_empty());
        assert!(warnings.to_string().starts_with("f:1:1: warning: odd\n"));
    }

    #[test]
    fn one_error_among_warnings_counts() {
        let source = Source::new("f", "one\n");
        let report = Report::new(&source);
        report.warning(span(1, 1, 3), "odd", "look");
        report.error(span(1, 1, 3), "bad");
        assert!(report.has_errors());
        let (errors, warnings) = report.finish();
        assert_eq!((errors.len(), warnings.len()), (1, 1));
    }

    #[test]
    fn masked_text_is_starred_in_every_diagnostic_of_its_line() {
        let source = Source::new("f", "{cookie: é, secret: hunter2}");
        let report = Report::new(&source);
        report.error(span(1, 10, 1), "bad cookie");
        report.mask(span(1, 21, 7));
        let (errors, _) = report.finish();
        assert_eq!(
            errors.iter().next().unwrap().source_line.as_deref(),
            Some("{cookie: é, secret: *******}")
        );
    }

    #[test]
    fn flood_of_mistakes_is_bounded_and_counted() {
        let source = Source::new("f", "x");
        let report = Report::new(&source);
        for _ in 0..DIAGNOSTICS_MAX + 7 {
            report.error(span(1, 1, 1), "no");
        }
        let (errors, _) = report.finish();
        assert_eq!(errors.len(), DIAGNOSTICS_MAX + 1);
        assert_eq!(errors.iter().last().unwrap().message, "7 more like these");
    }

    #[test]
    fn exactly_the_bound_is_told_in_full() {
        let source = Source::new("f", "x");
        let report = Report::new(&source);
        for _ in 0..DIAGNOSTICS_MAX {
            report.error(span(1, 1, 1), "no");
        }
        assert_eq!(report.finish().0.len(), DIAGNOSTICS_MAX);
    }

    #[test]
    fn json_has_every_field() {
        let source = Source::new("f", "x: y");
        let report = Report::new(&source);
        report.error_with_hint(span(1, 4, 1), "bad", "good");
        let json: serde_json::Value = serde_json::from_str(&report.finish().0.to_json()).unwrap();
        let expected = serde_json::json!([{
            "severity": "error", "file": "f", "line": 1, "column": 4, "length": 1,
            "message": "bad", "hint": "good", "source_line": "x: y",
        }]);
        assert_eq!(json, expected);
    }
}
