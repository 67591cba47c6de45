//! Lines of a file, each and all of them within bounds. Never holds more than one.

use std::io::{self, BufRead};

/// A hash, some roles and an address fit many times over.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Addresses are remembered to find those that come twice: 64 MB for so many.
const LINES_MAX: u64 = 1_000_000;

/// See the module.
pub(super) struct Lines<R> {
    reader: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0 }
    }

    /// The next line with its number, or what is wrong with it; `None` behind the last one.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Result<String, String>)>> {
        let mut line = Vec::new();
        let (mut length, mut is_read) = (0, false);
        loop {
            let held = self.reader.fill_buf()?;
            if held.is_empty() {
                break;
            }
            is_read = true;
            let end = held.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(held.len(), |end| end + 1);
            length += taken;
            if length <= LINE_BYTES_MAX {
                line.extend_from_slice(&held[..taken]);
            }
            self.reader.consume(taken);
            if end.is_some() {
                break;
            }
        }
        if !is_read || self.number > LINES_MAX {
            return Ok(None);
        }
        self.number += 1;
        let text = match length {
            _ if self.number > LINES_MAX => Err(format!(
                "it and all that follow are beyond {LINES_MAX} lines: split the file"
            )),
            0..=LINE_BYTES_MAX => {
                String::from_utf8(line).map_err(|_| "it is no UTF-8 text".to_owned())
            }
            _ => Err(format!("it is longer than {LINE_BYTES_MAX} bytes")),
        };
        Ok(Some((self.number, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Result<String, String>> {
        // A buffer smaller than a line.
        let mut lines = Lines::new(io::BufReader::with_capacity(3, text));
        let mut read = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            assert_eq!(number, read.len() as u64 + 1);
            read.push(line);
        }
        read
    }

    #[test]
    fn lines_are_counted_from_one_and_bounded() {
        assert!(read(b"").is_empty());
        let three = read(b"one\n\nthree");
        let good: Vec<_> = three.into_iter().map(Result::unwrap).collect();
        assert_eq!(good, ["one\n", "\n", "three"]);
        let mut long = vec![b'x'; LINE_BYTES_MAX + 1];
        long.extend_from_slice(b"\nshort\n\xff\n");
        let mixed = read(&long);
        assert!(mixed[0].as_ref().unwrap_err().contains("longer"));
        assert_eq!(mixed[1].as_deref(), Ok("short\n"));
        assert!(mixed[2].as_ref().unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_file_with_too_many_lines_ends_with_a_complaint() {
        let text = vec![b'\n'; LINES_MAX as usize + 5];
        let mut lines = Lines::new(&text[..]);
        let mut last = None;
        while let Some(line) = lines.next().unwrap() {
            last = Some(line);
        }
        let (number, complaint) = last.unwrap();
        assert_eq!(number, LINES_MAX + 1);
        assert!(complaint.unwrap_err().contains("split the file"));
    }
}
