//! The one spelling of a path by which rules know it. Never changes what a path means: it decodes
//! only what RFC 3986, section 2.3, lets nobody take for something else.

use std::borrow::Cow;

/// The path with unreserved characters plain (`%69` is `i`) and the other encoded ones in capitals
/// (`%c3` is `%C3`): one spelling for all that are equivalent (RFC 3986, 6.2.2). Slashes that are
/// encoded stay so, and what is no encoding stays as it is.
pub fn plain_path(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        rest = after;
        match encoded(after) {
            Some((byte, behind)) if is_unreserved(byte) => {
                plain.push(char::from(byte));
                rest = behind;
            }
            Some((_, behind)) => {
                let digits = after.len() - behind.len();
                plain.push('%');
                plain.extend(
                    after
                        .chars()
                        .take(digits)
                        .map(|digit| digit.to_ascii_uppercase()),
                );
                rest = behind;
            }
            None => plain.push('%'),
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// The byte that two hexadecimal digits at the beginning stand for, and what is behind them.
fn encoded(text: &str) -> Option<(u8, &str)> {
    let (digits, behind) = text.split_at_checked(2)?;
    let mut values = digits.chars().map(|digit| digit.to_digit(16));
    let (high, low) = (values.next()??, values.next()??);
    Some((u8::try_from(high << 4 | low).ok()?, behind))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_paths_have_one_spelling() {
        for (sent, plain) in [
            ("/internal", "/internal"),
            ("/%69nternal", "/internal"),
            ("/%49%6E%7e%2D%5f", "/In~-_"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%2fb%20c", "/a%2Fb%20c"),
            ("/%2561", "/%2561"),
            ("/100%", "/100%"),
            ("/%4", "/%4"),
            ("/%zz%+1%é1", "/%zz%+1%é1"),
            ("", ""),
        ] {
            assert_eq!(plain_path(sent), plain, "{sent}");
            assert_eq!(plain_path(plain), plain, "nothing is left to do");
        }
    }

    #[test]
    fn a_path_without_encoding_is_not_copied() {
        assert!(matches!(plain_path("/a/b"), Cow::Borrowed("/a/b")));
    }
}
