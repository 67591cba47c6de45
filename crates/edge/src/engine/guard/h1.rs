//! Finds where an HTTP/1.1 request header ends, byte by byte, and notes bytes that none may hold.
//! Never interprets anything else: parsing is the engine's, counting is ours.

/// Follows the bytes of one request header until its blank line.
///
/// A bare line feed counts as a line end here, as it does for the parser behind, so that both
/// agree on where the header stops.
#[derive(Debug, Default)]
pub(crate) struct HeaderScanner {
    bytes: usize,
    /// Lines with content so far: the request line and the header fields.
    lines: usize,
    line_has_content: bool,
    is_complete: bool,
    has_control: bool,
}

impl HeaderScanner {
    /// Takes the next bytes and returns the size of the header so far, in bytes. Bytes behind the
    /// blank line belong to the body and are not counted.
    pub(crate) fn advance(&mut self, input: &[u8]) -> usize {
        for &byte in input {
            if self.is_complete {
                break;
            }
            self.bytes += 1;
            match byte {
                // Empty lines in front of the request line are skipped by parsers (RFC 9112 2.2).
                b'\n' if !self.line_has_content => self.is_complete = self.lines > 0,
                b'\n' => self.line_has_content = false,
                b'\r' => {}
                _ => {
                    self.has_control |= byte.is_ascii_control() && byte != b'\t';
                    self.lines += usize::from(!self.line_has_content);
                    self.line_has_content = true;
                }
            }
        }
        self.bytes
    }

    /// Whether a control character stands in the header (RFC 9110 5.5, RFC 9112 3.2). The parser
    /// behind percent-encodes one in a request target instead of refusing it.
    pub(crate) fn has_control(&self) -> bool {
        self.has_control
    }

    /// Whether the blank line was seen.
    #[cfg(test)]
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Forgets everything: the next byte starts another header.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Header fields seen so far.
    pub(crate) fn fields(&self) -> usize {
        self.lines.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_bytes_behind_the_blank_line_are_not_counted() {
        let head = b"POST / HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut scanner = HeaderScanner::default();
        let mut input = head.to_vec();
        input.extend_from_slice(&[b'x'; 500]);
        assert_eq!(scanner.advance(&input), head.len());
        assert!(scanner.is_complete());
        assert_eq!(scanner.advance(b"more body"), head.len());
    }

    #[test]
    fn header_in_single_bytes_is_found_like_in_one_piece() {
        let mut scanner = HeaderScanner::default();
        for (index, byte) in b"GET / HTTP/1.1\r\na: b\r\n\r\n".iter().enumerate() {
            assert!(!scanner.is_complete(), "complete too early at byte {index}");
            scanner.advance(&[*byte]);
        }
        assert!(scanner.is_complete());
    }

    #[test]
    fn bare_line_feeds_end_a_header_too() {
        let mut scanner = HeaderScanner::default();
        scanner.advance(b"GET / HTTP/1.1\na: b\n\n");
        assert!(scanner.is_complete());
    }

    #[test]
    fn control_characters_count_in_the_header_alone() {
        let mut scanner = HeaderScanner::default();
        scanner.advance(b"POST / HTTP/1.1\r\na:\tb\r\n\r\n\x00\x01");
        assert!(!scanner.has_control());
        for bad in [&b"GET /\x01"[..], b"GET / HTTP/1.1\r\na: \x00", b"\x7f"] {
            scanner.reset();
            scanner.advance(bad);
            assert!(scanner.has_control(), "{bad:?}");
        }
    }

    #[test]
    fn empty_lines_in_front_are_counted_and_end_nothing() {
        let mut scanner = HeaderScanner::default();
        assert_eq!(scanner.advance(&b"\r\n".repeat(50)), 100);
        assert!(!scanner.is_complete());
        assert_eq!(scanner.advance(b"GET / HTTP/1.1\r\na: b\r\n\r\n"), 124);
        assert!(scanner.is_complete());
        assert_eq!(scanner.fields(), 1);
    }

    #[test]
    fn unfinished_header_keeps_growing() {
        let mut scanner = HeaderScanner::default();
        scanner.advance(b"GET / HTTP/1.1\r\n");
        for _ in 0..1000 {
            scanner.advance(b"x: y\r\n");
        }
        assert!(!scanner.is_complete());
        assert_eq!(scanner.advance(b""), 16 + 6000);
        scanner.reset();
        assert_eq!(scanner.advance(b"G"), 1);
    }
}
