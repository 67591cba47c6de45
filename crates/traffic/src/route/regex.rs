//! A regular expression that must match a whole text. Never takes longer than linear time, and never more memory than its bound.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use regex_automata::util::primitives::PatternID;
use regex_automata::{Anchored, Input, meta};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Matches whole texts, byte by byte: `.` is any byte but a line end, `\w` is ASCII, and there is
/// no look-around and no back-reference, which could not be matched in linear time.
///
/// Of two expressions the longer text is the greater, so that the order of routes does not depend
/// on where they stand.
///
/// ```
/// use portcullis_traffic::route::Regex;
///
/// let orders = Regex::new("/users/([0-9]+)/orders")?;
/// assert!(orders.is_match(b"/users/7/orders"));
/// assert!(!orders.is_match(b"/v1/users/7/orders/9"), "the whole text");
/// assert_eq!(orders.groups("/users/7/orders").unwrap()[1], Some("7"));
/// # Ok::<(), portcullis_traffic::route::RegexError>(())
/// ```
#[derive(Clone)]
pub struct Regex {
    source: Box<str>,
    /// Anchored at both ends.
    whole: Hir,
    program: meta::Regex,
}

/// A text is no regular expression, or one that needs too much memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexError {
    /// What is wrong.
    pub message: String,
    /// How many characters stand before the mistake, where there is one place.
    pub offset: Option<usize>,
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{} at character {}", self.message, offset + 1),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for RegexError {}

impl Regex {
    /// Compiles an expression.
    pub fn new(source: &str) -> Result<Self, RegexError> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(RegexError {
                message: format!("the expression is longer than {SOURCE_BYTES_MAX} bytes"),
                offset: None,
            });
        }
        let mut parser = ParserBuilder::new();
        parser.unicode(false).utf8(false).nest_limit(NESTING_MAX);
        let inner = parser
            .build()
            .parse(source)
            .map_err(|error| syntax_error(source, &error))?;
        let whole = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
        let bounds = meta::Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(PROGRAM_BYTES_MAX))
            .hybrid_cache_capacity(CACHE_BYTES_MAX);
        let program = meta::Builder::new()
            .configure(bounds)
            .build_from_hir(&whole)
            .map_err(|error| RegexError {
                message: match error.size_limit() {
                    Some(_) => "the expression needs too much memory".to_owned(),
                    None => error.to_string(),
                },
                offset: None,
            })?;
        Ok(Self {
            source: source.into(),
            whole,
            program,
        })
    }

    /// The expression as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole text matches.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.program
            .is_match(Input::new(text).anchored(Anchored::Yes))
    }

    /// What the groups of the expression took of a text that matches; the first is the text itself.
    pub fn groups<'t>(&self, text: &'t str) -> Option<Vec<Option<&'t str>>> {
        let mut captures = self.program.create_captures();
        self.program.captures(
            Input::new(text.as_bytes()).anchored(Anchored::Yes),
            &mut captures,
        );
        captures.is_match().then(|| {
            let groups = captures.iter();
            groups
                .map(|span| span.and_then(|span| text.get(span.range())))
                .collect()
        })
    }

    /// Position of a group by its number or name.
    pub fn group(&self, name: &str) -> Option<usize> {
        let info = self.program.group_info();
        match name.parse::<usize>() {
            Ok(number) => (number < info.group_len(PatternID::ZERO)).then_some(number),
            Err(_) => info.to_index(PatternID::ZERO, name),
        }
    }

    /// The anchored expression.
    pub(super) fn whole(&self) -> &Hir {
        &self.whole
    }

    /// Its parts without the anchors.
    fn parts(&self) -> &[Hir] {
        match self.whole.kind() {
            HirKind::Concat(parts) => parts.get(1..parts.len() - 1).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The text that every match begins with, as far as it is plain.
    pub fn beginning(&self) -> &[u8] {
        match self.parts().first().map(Hir::kind) {
            Some(HirKind::Literal(literal)) => &literal.0,
            _ => &[],
        }
    }

    /// The only text that matches, if the expression is plain text.
    pub(super) fn only(&self) -> Option<&[u8]> {
        (self.parts().len() == 1)
            .then(|| self.beginning())
            .filter(|text| !text.is_empty())
    }

    /// The beginning of a text that matches whatever follows: `/api/` of `/api/.*`.
    pub(super) fn anything_after(&self) -> Option<&[u8]> {
        match self.parts() {
            [last] if is_anything(last) => Some(&[]),
            [_, last] if is_anything(last) && !self.beginning().is_empty() => {
                Some(self.beginning())
            }
            _ => None,
        }
    }
}

/// `.*`, in a group or not.
fn is_anything(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => is_anything(&capture.sub),
        HirKind::Repetition(repeated) => {
            repeated.min == 0
                && repeated.max.is_none()
                && matches!(repeated.sub.kind(), HirKind::Class(Class::Bytes(class))
                    if (0..=u8::MAX).all(|byte| byte == b'\n'
                        || class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&byte))))
        }
        _ => false,
    }
}

fn syntax_error(source: &str, error: &regex_syntax::Error) -> RegexError {
    let (message, offset) = match error {
        regex_syntax::Error::Parse(error) => {
            (error.kind().to_string(), Some(error.span().start.offset))
        }
        regex_syntax::Error::Translate(error) => {
            (error.kind().to_string(), Some(error.span().start.offset))
        }
        other => (other.to_string(), None),
    };
    RegexError {
        message,
        offset: offset.map(|offset| source.get(..offset).map_or(0, |text| text.chars().count())),
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.source).finish()
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Regex {}

impl Hash for Regex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

impl Ord for Regex {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.source.len(), &self.source).cmp(&(other.source.len(), &other.source))
    }
}

impl PartialOrd for Regex {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Longer ones cannot be read.
const SOURCE_BYTES_MAX: usize = 1024;
/// Groups within groups.
const NESTING_MAX: u32 = 32;
/// `[a-z]{1,500}` still fits; a product of such counts does not.
const PROGRAM_BYTES_MAX: usize = 256 * 1024;
/// What one thread may keep of one expression while it matches.
const CACHE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(source: &str) -> Regex {
        Regex::new(source).unwrap()
    }

    #[test]
    fn the_whole_text_must_match() {
        let version = regex("/v[0-9]+|/latest");
        for (text, is_match) in [
            ("/v1", true),
            ("/latest", true),
            ("/v1/x", false),
            ("/x/v1", false),
            ("/v", false),
            ("", false),
        ] {
            assert_eq!(version.is_match(text.as_bytes()), is_match, "{text}");
        }
        assert!(regex("(?i)green").is_match(b"GREEN"));
        assert!(regex(".").is_match(b"\xff"), "bytes, not characters");
    }

    #[test]
    fn mistakes_have_a_place() {
        for (source, message, offset) in [
            ("/a(b", "unclosed group", Some(2)),
            ("/\u{e9}[z-a]", "invalid character class range", Some(3)),
            ("/a**{", "repetition", None),
            (r"/(a)\1", "backreferences are not supported", Some(4)),
            ("(?=x)", "look-around", Some(0)),
            ("((a{1000}){1000}){1000}", "too much memory", None),
        ] {
            let error = Regex::new(source).unwrap_err();
            assert!(error.message.contains(message), "{source}: {error}");
            if offset.is_some() {
                assert_eq!(error.offset, offset, "{source}: {error}");
            }
        }
        assert!(Regex::new(&"a".repeat(2_000)).is_err());
        assert!(Regex::new(&"(".repeat(500)).is_err());
    }

    #[test]
    fn expressions_that_ruin_backtracking_end_at_once() {
        let text = "a".repeat(50_000);
        assert!(!regex("(a+)+b").is_match(text.as_bytes()));
        assert!(!regex("(a|aa)*c").is_match(text.as_bytes()));
    }

    #[test]
    fn groups_are_found_by_number_and_name() {
        let orders = regex("/users/(?<user>[^/]+)(/orders)?");
        assert_eq!(orders.group("user"), Some(1));
        assert_eq!(orders.group("2"), Some(2));
        assert_eq!(orders.group("0"), Some(0));
        assert_eq!(orders.group("3"), None);
        assert_eq!(orders.group("order"), None);
        assert_eq!(
            orders.groups("/users/ann").unwrap(),
            [Some("/users/ann"), Some("ann"), None]
        );
        assert_eq!(orders.groups("/other"), None);
    }

    #[test]
    fn shapes_that_decide_reachability_are_seen() {
        assert_eq!(regex("/a/b").only(), Some(&b"/a/b"[..]));
        assert_eq!(regex("/a.b").only(), None);
        assert_eq!(regex("").only(), None);
        assert_eq!(regex("/api/.*").anything_after(), Some(&b"/api/"[..]));
        assert_eq!(regex("/api(.*)").anything_after(), Some(&b"/api"[..]));
        assert_eq!(regex("(?s).*").anything_after(), Some(&b""[..]));
        assert_eq!(regex("/api/.+").anything_after(), None);
        assert_eq!(regex("/api/[a-z]*").anything_after(), None);
        assert_eq!(regex("x/y[0-9]").beginning(), b"x/y");
    }
}
