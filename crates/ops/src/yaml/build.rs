//! Parser events into nodes. Never keeps more than the budgets of the module above allow.

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span as Range, StrInput, options,
};

use super::interpolate::interpolate;
use super::{DEPTH_MAX, Entry, Lookup, NODES_MAX, Node, TEXT_BYTES_MAX, Value};
use crate::diagnostic::{Report, Span};

const QUOTE_STAR: &str = "put a value that starts with * in quotes: \"*.example.com\"";

pub(super) fn load(report: &Report<'_>, lookup: &Lookup<'_>) -> Option<Node> {
    let text = report.source().text();
    let start = Span {
        line: 0,
        column: 0,
        length: 0,
    };
    if text.len() > TEXT_BYTES_MAX {
        report.error(
            start,
            format!("the file is larger than {TEXT_BYTES_MAX} bytes"),
        );
        return None;
    }
    let options = options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        parser,
        report,
        lookup,
        nodes_left: NODES_MAX,
        growth_left: TEXT_BYTES_MAX,
    };
    builder.document()
}

struct Builder<'t, 'r> {
    parser: Parser<'t, StrInput<'t>>,
    report: &'r Report<'t>,
    lookup: &'r Lookup<'r>,
    nodes_left: usize,
    growth_left: usize,
}

impl<'t> Builder<'t, '_> {
    /// Everything below returns `None` when reading on makes no sense; the reason is reported.
    fn document(&mut self) -> Option<Node> {
        loop {
            let (event, range) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd => {
                    let whole = Span {
                        line: 0,
                        column: 0,
                        length: 0,
                    };
                    self.report.error(whole, "the file is empty");
                    return None;
                }
                _ => {
                    let root = self.node(event, range, 0)?;
                    return self.end_of_stream().map(|()| root);
                }
            }
        }
    }

    fn end_of_stream(&mut self) -> Option<()> {
        loop {
            let (event, range) = self.next()?;
            match event {
                Event::DocumentEnd => {}
                Event::StreamEnd => return Some(()),
                _ => {
                    let hint = "remove the line `---` and what follows it";
                    self.report
                        .error_with_hint(span(range), "a second document begins", hint);
                    return None;
                }
            }
        }
    }

    fn node(&mut self, event: Event<'t>, range: Range, depth: usize) -> Option<Node> {
        let place = span(range);
        self.nodes_left = self.nodes_left.checked_sub(1).or_else(|| {
            self.report.error(
                place,
                format!("the file holds more than {NODES_MAX} values"),
            );
            None
        })?;
        if depth > DEPTH_MAX {
            self.report.error(place, too_deep());
            return None;
        }
        self.refuse_extras(&event, range);
        let value = match event {
            Event::Scalar(text, style, ..) => self.scalar(&text, style, place),
            Event::SequenceStart(..) => self.sequence(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.report
                    .error_with_hint(place, "aliases are not supported", QUOTE_STAR);
                Value::Invalid
            }
            _ => {
                self.report.error(place, "this is not a value");
                return None;
            }
        };
        Some(Node { span: place, value })
    }

    /// Anchors and tags have no meaning here, and ignoring what somebody wrote is worse than refusing it.
    fn refuse_extras(&self, event: &Event<'t>, range: Range) {
        if event.anchor_id().is_some() && !event.is_alias() {
            let hint = "repeat the value; a value that starts with & needs quotes";
            self.report
                .error_with_hint(span(range), "anchors are not supported", hint);
        }
        if event.tag().is_some() {
            let place = range.tag_span().map_or_else(|| span(range), span);
            let hint = "write the plain value; a value that starts with ! needs quotes";
            self.report
                .error_with_hint(place, "tags are not supported", hint);
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Span) -> Value {
        if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        match interpolate(text, self.lookup, &mut self.growth_left) {
            Ok(text) => Value::Scalar(text),
            Err(mistake) => {
                let place = self.place_of(&mistake.text, place);
                self.report
                    .error_with_hint(place, mistake.message, mistake.hint);
                Value::Invalid
            }
        }
    }

    /// Where in its first line a scalar holds `part`; the scalar's own place if it does not.
    fn place_of(&self, part: &str, scalar: Span) -> Span {
        let line = self.report.source().line(scalar.line).unwrap_or_default();
        let offset = scalar.column.saturating_sub(1);
        let tail: String = line.chars().skip(offset).collect();
        match tail.find(part) {
            Some(at) => Span {
                column: scalar.column + tail[..at].chars().count(),
                length: part.chars().count(),
                ..scalar
            },
            None => scalar,
        }
    }

    fn sequence(&mut self, depth: usize) -> Option<Value> {
        let mut nodes = Vec::new();
        loop {
            let (event, range) = self.next()?;
            if event == Event::SequenceEnd {
                return Some(Value::Sequence(nodes));
            }
            nodes.push(self.node(event, range, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Value> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        loop {
            let (event, range) = self.next()?;
            if event == Event::MappingEnd {
                return Some(Value::Mapping(entries));
            }
            let key_span = span(range);
            let key = self.key(event, range, depth)?;
            let (event, range) = self.next()?;
            let mut node = self.node(event, range, depth + 1)?;
            if node.value == Value::Null {
                // Nothing has no place of its own: its key is what people look for.
                node.span = key_span;
            }
            // The first one stays, so that the rest of the file is still checked.
            let Some(key) = key else { continue };
            if let Some(first) = seen.insert(key.clone(), key_span.line) {
                let hint = format!("line {first} has it already");
                self.report
                    .error_with_hint(key_span, format!("`{key}` is given twice"), hint);
                continue;
            }
            entries.push(Entry {
                key,
                key_span,
                node,
            });
        }
    }

    /// The inner `None` is a key that cannot be used; it was reported.
    fn key(&mut self, event: Event<'t>, range: Range, depth: usize) -> Option<Option<String>> {
        if let Event::Scalar(text, ..) = &event {
            let text = text.clone().into_owned();
            self.refuse_extras(&event, range);
            return Some(Some(text));
        }
        self.report.error(span(range), "a key must be plain text");
        self.node(event, range, depth + 1)?;
        Some(None)
    }

    fn next(&mut self) -> Option<(Event<'t>, Range)> {
        match self.parser.next_event()? {
            Ok(next) => Some(next),
            Err(error) => {
                self.syntax_error(&error);
                None
            }
        }
    }

    fn syntax_error(&self, error: &ScanError) {
        let marker = error.marker();
        let place = Span {
            line: marker.line(),
            column: marker.col() + 1,
            length: 1,
        };
        let line = self.report.source().line(place.line).unwrap_or_default();
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(),
            _ => error.info(),
        };
        match hint_for(error.kind(), line) {
            Some(hint) => self.report.error_with_hint(place, message, hint),
            None => self.report.error(place, message),
        }
    }
}

fn too_deep() -> String {
    format!("lists and mappings are nested deeper than {DEPTH_MAX} levels")
}

/// The traps people really fall into with this kind of file.
fn hint_for(kind: &ErrorKind, line: &str) -> Option<&'static str> {
    let in_brackets = line.replace("${", "").contains(['[', '{']);
    if matches!(kind, ErrorKind::MissingAnchorOrAliasName) {
        return Some(QUOTE_STAR);
    }
    if line.contains('\t') {
        return Some("indent with spaces, never with tabs");
    }
    if line.contains("${") && in_brackets {
        return Some("between [ ] or { } put values that hold ${…} in quotes");
    }
    if line.contains("]:") {
        return Some("put an address in brackets in quotes: \"[::]:8080\"");
    }
    None
}

fn span(range: Range) -> Span {
    let (start, end) = (range.start, range.end);
    let length = if start.line() == end.line() {
        end.col().saturating_sub(start.col())
    } else {
        1
    };
    Span {
        line: start.line(),
        column: start.col() + 1,
        length: length.max(1),
    }
}
