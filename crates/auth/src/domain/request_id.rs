//! The id of a request, as it goes through all services and their logs. Never holds anything that could forge a line.

use std::fmt;

const BYTES_MAX: usize = 128;

/// Up to 128 letters, digits and `- _ .`; small enough to hand on by value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    length: u8,
    bytes: [u8; BYTES_MAX],
}

impl RequestId {
    /// Reads an id; `None` where it is empty, too long or holds anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || !text.bytes().all(fits) {
            return None;
        }
        let mut bytes = [0; BYTES_MAX];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        let length = u8::try_from(text.len()).ok()?;
        Some(Self { length, bytes })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.length));
        text.and_then(|text| str::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_was_read_or_none() {
        let longest = "a".repeat(BYTES_MAX);
        for text in ["a", "018f-x_y.Z", &longest] {
            assert_eq!(RequestId::parse(text).unwrap().to_string(), text);
        }
        let longer = "a".repeat(BYTES_MAX + 1);
        for text in ["", "a b", "a\n", "ü", "\"", &longer] {
            assert_eq!(RequestId::parse(text), None, "{text:?}");
        }
    }
}
