//! The one path by which a request is routed and that its endpoint is sent, and the other paths that an endpoint might
//! read in it. Never guesses: what has two meanings is refused or, where the rules say so, given one.

use std::borrow::Cow;

/// What becomes of parts of a path that servers read differently. Names no host and no segment: that is for routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRules {
    /// `%2F`.
    pub encoded_slash: EncodedSlash,
    /// `.` and `..` as segments.
    pub dot_segments: DotSegments,
    /// `//`.
    pub double_slash: DoubleSlash,
    /// `\` and `%5C`, which some servers take for a slash.
    pub backslash: Oddity,
    /// `;` and what follows it in a segment, which some servers take off.
    pub parameters: Oddity,
    /// `%` without two hexadecimal digits behind it.
    pub bad_encoding: Oddity,
    /// What would go to another route if it were read in one of these other ways.
    pub ambiguous: Oddity,
}

/// What becomes of `%2F`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedSlash {
    /// It stays, and is no slash (default).
    Keep,
    /// The path is refused.
    Refuse,
    /// It becomes a slash.
    Decode,
}

/// What becomes of `.` and `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DotSegments {
    /// The path is refused (default).
    Refuse,
    /// They are carried out (RFC 3986, 5.2.4); above the root the path is refused.
    Resolve,
}

/// What becomes of `//`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubleSlash {
    /// It stays, and is two slashes (default).
    Keep,
    /// It becomes one slash.
    Merge,
    /// The path is refused.
    Refuse,
}

/// What becomes of something odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// It stays.
    Keep,
    /// The path is refused.
    Refuse,
}

impl Default for PathRules {
    fn default() -> Self {
        Self {
            encoded_slash: EncodedSlash::Keep,
            dot_segments: DotSegments::Refuse,
            double_slash: DoubleSlash::Keep,
            backslash: Oddity::Refuse,
            parameters: Oddity::Keep,
            bad_encoding: Oddity::Refuse,
            ambiguous: Oddity::Refuse,
        }
    }
}

/// The path to route by and to send; `None` if it is refused. Once more makes no difference.
///
/// Refused whatever the rules say: NUL, overlong UTF-8, which hides characters from whoever looks at bytes, and dot
/// segments between separators that only some servers know.
pub fn normalize<'p>(path: &'p str, rules: &PathRules) -> Option<Cow<'p, str>> {
    if is_unremarkable(path) {
        return Some(Cow::Borrowed(path));
    }
    if !has_sound_encoding(path, rules)
        || (rules.encoded_slash == EncodedSlash::Refuse && contains_encoded(path, b'/'))
        || (rules.parameters == Oddity::Refuse && path.contains(';'))
    {
        return None;
    }
    let mut path = Cow::Borrowed(path);
    if rules.encoded_slash == EncodedSlash::Decode {
        path = decoded(path, b'/');
    }
    match rules.double_slash {
        DoubleSlash::Refuse if path.contains("//") => return None,
        DoubleSlash::Merge => path = merged(path),
        _ => {}
    }
    if rules.dot_segments == DotSegments::Resolve && path.split('/').any(is_plain_dots) {
        path = Cow::Owned(resolved(&path)?);
    }
    (!has_dot_segments(&path)).then_some(path)
}

/// Whether some server may read a segment that is `.` or `..` here: plain or encoded, with or without parameters, between
/// slashes, backslashes or encoded ones.
pub fn has_dot_segments(path: &str) -> bool {
    let bytes = path.as_bytes();
    let is_suspect = bytes.contains(&b'%')
        || bytes.contains(&b'\\')
        || bytes.windows(2).any(|pair| pair == b"/.")
        || bytes.first() == Some(&b'.');
    if !is_suspect {
        return false;
    }
    let path = decoded(decoded(Cow::Borrowed(path), b'/'), b'\\');
    let path = decoded(path, b';');
    path.split(['/', '\\'])
        .any(|segment| is_plain_dots(segment.split(';').next().unwrap_or_default()))
}

/// The other paths that a server might read in this one: encoded slashes and backslashes as slashes, repeated slashes as
/// one, parameters taken off, each of these with and without the others. None in nearly every path, and never more
/// than fifteen.
pub fn readings(path: &str) -> impl Iterator<Item = String> {
    let has_encoding = path.contains('%');
    let is_there = [
        path.contains('\\') || has_encoding && contains_encoded(path, b'\\'),
        has_encoding && contains_encoded(path, b'/'),
        path.contains(';') || has_encoding && contains_encoded(path, b';'),
        // What the others make of it may have some, too.
        path.contains('/'),
    ];
    let is_odd = !is_unremarkable(path) && (is_there[..3].contains(&true) || path.contains("//"));
    let last = if is_odd { 1_u8 << is_there.len() } else { 0 };
    (1..last).filter_map(move |chosen| {
        let is_chosen = |bit: usize| chosen & (1 << bit) != 0;
        if (0..is_there.len()).any(|bit| is_chosen(bit) && !is_there[bit]) {
            return None;
        }
        let mut read = Cow::Borrowed(path);
        if is_chosen(0) {
            read = Cow::Owned(decoded(read, b'\\').replace('\\', "/"));
        }
        if is_chosen(1) {
            read = decoded(read, b'/');
        }
        if is_chosen(2) {
            read = Cow::Owned(without_parameters(&decoded(read, b';')));
        }
        if is_chosen(3) {
            read = merged(read);
        }
        Some(read.into_owned())
    })
}

fn is_unremarkable(path: &str) -> bool {
    if path.starts_with('.') {
        return false;
    }
    let mut before = 0;
    path.bytes().all(|byte| {
        let is_pair = before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        !is_pair && !matches!(byte, b'%' | b'\\' | b';')
    })
}

/// Looks at everything behind a `%`, and at backslashes.
fn has_sound_encoding(path: &str, rules: &PathRules) -> bool {
    let bytes = path.as_bytes();
    let is_refused = |oddity: Oddity| oddity == Oddity::Refuse;
    (0..bytes.len()).all(|at| match (bytes[at], encoded(bytes, at)) {
        (b'\\', _) | (b'%', Some(b'\\')) => !is_refused(rules.backslash),
        (b'%', Some(0)) => false,
        (b'%', Some(lead)) => !is_overlong(lead, encoded(bytes, at + 3)),
        (b'%', None) => !is_refused(rules.bad_encoding),
        _ => true,
    })
}

/// Whether two bytes begin a form of UTF-8 that is longer than it must be (RFC 3629, 3).
fn is_overlong(lead: u8, next: Option<u8>) -> bool {
    match (lead, next) {
        (0xc0 | 0xc1, Some(next)) => (0x80..=0xbf).contains(&next),
        (0xe0, Some(next)) => (0x80..=0x9f).contains(&next),
        (0xf0, Some(next)) => (0x80..=0x8f).contains(&next),
        _ => false,
    }
}

/// The byte that `%` and two hexadecimal digits at this place stand for.
fn encoded(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(at..at + 3)? else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn contains_encoded(path: &str, byte: u8) -> bool {
    let bytes = path.as_bytes();
    (0..bytes.len()).any(|at| encoded(bytes, at) == Some(byte))
}

/// The path with this ASCII character plain wherever it is encoded.
fn decoded(path: Cow<'_, str>, byte: u8) -> Cow<'_, str> {
    if !contains_encoded(&path, byte) {
        return path;
    }
    let mut plain = String::with_capacity(path.len());
    let mut rest = path.as_ref();
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        if encoded(rest.as_bytes(), at) == Some(byte) {
            plain.push(char::from(byte));
            rest = &rest[at + 3..];
        } else {
            plain.push('%');
            rest = &rest[at + 1..];
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn merged(path: Cow<'_, str>) -> Cow<'_, str> {
    if !path.contains("//") {
        return path;
    }
    let mut single = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !single.ends_with('/') {
            single.push(character);
        }
    }
    Cow::Owned(single)
}

fn without_parameters(path: &str) -> String {
    let segments = path.split('/');
    let names = segments.map(|segment| segment.split(';').next().unwrap_or_default());
    names.collect::<Vec<_>>().join("/")
}

/// `.` or `..`, any of the dots encoded.
fn is_plain_dots(segment: &str) -> bool {
    let mut rest = segment.as_bytes();
    let mut dots = 0;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'.', _) => after,
            (b'%', [b'2', b'e' | b'E', after @ ..]) => after,
            _ => return false,
        };
        dots += 1;
    }
    matches!(dots, 1 | 2)
}

/// `None` above the root.
fn resolved(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if !is_plain_dots(segment) {
            kept.push(segment);
            continue;
        }
        if segment.len() > 3 || segment == ".." {
            // The first is what stands before the first slash.
            if kept.len() < 2 {
                return None;
            }
            kept.pop();
        }
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    Some(kept.join("/"))
}

#[cfg(test)]
mod tests;
