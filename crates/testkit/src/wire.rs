//! HTTP/1.1 messages read from a stream, byte for byte. Never interprets more than framing, and
//! never repairs what it reads.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Start line and fields of a message, as they arrived.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) start_line: String,
    pub(crate) fields: Fields,
}

/// Names and values in order, as sent.
pub(crate) type Fields = Vec<(String, String)>;

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.field("transfer-encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
    }

    pub(crate) fn content_length(&self) -> Option<usize> {
        self.field("content-length")?.trim().parse().ok()
    }
}

/// A stream with the bytes read ahead of what was asked for.
pub(crate) struct Reader<S> {
    pub(crate) stream: S,
    ahead: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(crate) fn new(stream: S) -> Self {
        Reader {
            stream,
            ahead: Vec::new(),
        }
    }

    /// The next message head, or `None` when the peer closed between messages.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                let text: Vec<u8> = self.ahead.drain(..end + 4).collect();
                return parse_head(&text).map(Some);
            }
            if self.ahead.len() > HEAD_BYTES_MAX {
                return Err(malformed(&format!("no end of head: {:?}", self.preview())));
            }
            if self.fill().await? == 0 {
                if self.ahead.is_empty() {
                    return Ok(None);
                }
                return Err(malformed(&format!(
                    "closed inside a head: {:?}",
                    self.preview()
                )));
            }
        }
    }

    /// Exactly `length` bytes.
    pub(crate) async fn exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if self.fill().await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("closed after {} of {length} body bytes", self.ahead.len()),
                ));
            }
        }
        let behind = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, behind))
    }

    /// A chunked body, decoded, and its trailers.
    pub(crate) async fn chunked(&mut self) -> io::Result<(Vec<u8>, Fields)> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await?;
            if chunk.is_empty() {
                return Ok((body, self.trailers().await?));
            }
            body.extend(chunk);
        }
    }

    /// One chunk; empty for the last, behind which trailers stand.
    pub(crate) async fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = self.line().await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_| malformed(&format!("chunk size {line:?}")))?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let chunk = self.exact(size).await?;
        match self.line().await? {
            end if end.is_empty() => Ok(chunk),
            more => Err(malformed(&format!("a chunk goes on with {more:?}"))),
        }
    }

    pub(crate) async fn trailers(&mut self) -> io::Result<Fields> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            fields.push(parse_field(&line)?);
        }
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill().await? > 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Some bytes as they come; empty at the end of the stream.
    pub(crate) async fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Some of the next `most` bytes as they come; empty when that is none.
    pub(crate) async fn some_of(&mut self, most: usize) -> io::Result<Vec<u8>> {
        if most > 0 && self.ahead.is_empty() && self.fill().await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = most.min(self.ahead.len());
        Ok(self.ahead.drain(..length).collect())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.fill().await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "closed inside a line",
                ));
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.ahead.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.ahead).await
    }

    fn preview(&self) -> String {
        String::from_utf8_lossy(&self.ahead[..self.ahead.len().min(200)]).into_owned()
    }
}

fn parse_head(text: &[u8]) -> io::Result<Head> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let start_line = lines.next().unwrap_or_default().to_owned();
    let fields = lines.map(parse_field).collect::<io::Result<_>>()?;
    Ok(Head { start_line, fields })
}

fn parse_field(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| malformed(&format!("field {line:?}")))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("malformed message: {what}"),
    )
}

/// Room for each read; a buffer that starts empty would otherwise ask for a few bytes only.
const READ_BYTES: usize = 64 << 10;

/// More than any limit under test, so that oversized heads reach the code under test.
const HEAD_BYTES_MAX: usize = 1 << 20;
