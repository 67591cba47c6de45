//! Lines, and the bytes that may be in them. Never lets a CR pass without its LF or an LF without
//! its CR, and knows no message.

use std::ops::Range;

use memchr::memchr2;

use crate::words;

/// Cuts a growing head into lines. Looks at each byte once, however often it is asked.
#[derive(Debug, Default)]
pub(super) struct LineReader {
    /// Where the line at hand begins.
    start: usize,
    /// Everything before was searched for the end of the line.
    searched: usize,
}

/// What is known of the line at hand; the range never includes CR or LF.
#[derive(Debug)]
pub(super) enum Line {
    /// It ended properly. The reader stands behind it.
    Whole(Range<usize>),
    /// More must arrive.
    Open(Range<usize>),
    /// A CR or an LF without the other ends it.
    Broken(Range<usize>),
}

impl LineReader {
    /// Bytes of the lines read so far, line ends included.
    pub(super) fn position(&self) -> usize {
        self.start
    }

    #[inline]
    pub(super) fn next(&mut self, window: &[u8]) -> Line {
        let start = self.start;
        let Some(offset) = memchr2(b'\r', b'\n', &window[self.searched..]) else {
            self.searched = window.len();
            return Line::Open(start..window.len());
        };
        let end = self.searched + offset;
        match (window[end], window.get(end + 1)) {
            (b'\r', Some(b'\n')) => {
                self.start = end + 2;
                self.searched = self.start;
                Line::Whole(start..end)
            }
            (b'\r', None) => {
                self.searched = end;
                Line::Open(start..end)
            }
            _ => Line::Broken(start..end),
        }
    }
}

/// Characters of methods and field names (RFC 9110, 5.6.2).
#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Characters of field values and reason phrases: what is visible, white space, and bytes above
/// ASCII (RFC 9110, 5.5).
#[inline]
pub(super) fn is_value(bytes: &[u8]) -> bool {
    words::all(
        bytes,
        |word| words::has_below(word, b' ') || words::has(word, 0x7f),
        |byte| (byte >= b' ' || byte == b'\t') && byte != 0x7f,
    )
}

/// Characters of a request target: visible ASCII, but no fragment.
#[inline]
pub(super) fn is_target(bytes: &[u8]) -> bool {
    let is_foreign = |byte: u8| !(b'!'..=b'~').contains(&byte) | (byte == b'#');
    !bytes
        .iter()
        .fold(false, |found, &byte| found | is_foreign(byte))
}

/// Without the white space that may stand around field values and list elements.
#[inline]
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list. Empty ones do not count (RFC 9110, 5.6.1.2).
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = list.split(|&byte| byte == b',').map(trim);
    parts.filter(|element| !element.is_empty())
}

/// `1*19DIGIT`: plain digits that fit.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > DECIMAL_DIGITS_MAX {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}

/// As many nines are still a `u64`.
const DECIMAL_DIGITS_MAX: usize = 19;

static TOKEN: [bool; 256] = token_bytes();

const fn token_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let is_token = (byte as u8).is_ascii_alphanumeric();
        table[byte] = is_token;
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_judged_alike_wherever_it_stands() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    for around in [b'a', b'\t', 0xff] {
                        let mut value = vec![around; length];
                        value[at] = byte;
                        let is_plain = byte >= b' ' && byte != 0x7f || byte == b'\t';
                        assert_eq!(is_value(&value), is_plain, "{byte} at {at} of {length}");
                    }
                }
            }
        }
    }
}
