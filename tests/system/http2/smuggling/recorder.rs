//! An endpoint that keeps every byte it gets, and a strict reader of them. Never answers twice on a
//! connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use portcullis_testkit::wait_until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The bytes of one connection, and whether it has ended.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    has_ended: bool,
}

pub(super) struct Recorder {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Arc<Mutex<Heard>>>>>,
    accept: JoinHandle<()>,
}

impl Recorder {
    pub(super) async fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<_>>> = Arc::default();
        let all = Arc::clone(&heard);
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let one = Arc::new(Mutex::new(Heard::default()));
                all.lock().unwrap().push(Arc::clone(&one));
                tokio::spawn(async move {
                    record(stream, &one).await;
                    one.lock().unwrap().has_ended = true;
                });
            }
        });
        Recorder {
            address,
            heard,
            accept,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came on each connection, once at least so many have come and all have ended.
    pub(super) async fn take(&self, least: usize) -> Vec<Vec<u8>> {
        wait_until("the connections to end", async || {
            let heard = self.heard.lock().unwrap();
            let has_ended = heard.iter().all(|one| one.lock().unwrap().has_ended);
            (has_ended && heard.len() >= least).then_some(())
        })
        .await;
        let heard = std::mem::take(&mut *self.heard.lock().unwrap());
        let bytes = heard.iter().map(|one| one.lock().unwrap().bytes.clone());
        bytes.filter(|bytes| !bytes.is_empty()).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Answers the first whole request, and reads on to the end.
async fn record(mut stream: TcpStream, heard: &Mutex<Heard>) {
    let mut is_answered = false;
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        let is_whole = {
            let mut heard = heard.lock().unwrap();
            heard.bytes.extend_from_slice(&piece[..count]);
            is_whole(&heard.bytes)
        };
        if is_whole && !is_answered {
            is_answered = true;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

/// Head and body of the first request, if its head is complete.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((&bytes[..end], &bytes[end + 4..]))
}

fn field<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.split("\r\n").skip(1);
    lines
        .filter_map(|line| line.split_once(": "))
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

/// The value of a field of the first request.
pub(super) fn mark(bytes: &[u8], name: &str) -> Option<String> {
    let (head, _) = split(bytes)?;
    let head = String::from_utf8_lossy(head).into_owned();
    field(&head, name).first().map(|value| (*value).to_owned())
}

/// What is left behind the body that the head announces; `None` while that is incomplete.
fn behind<'a>(head: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    if !field(head, "transfer-encoding").is_empty() {
        let mut rest = body;
        loop {
            let line = rest.windows(2).position(|two| two == b"\r\n")?;
            let size = std::str::from_utf8(&rest[..line]).ok()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            rest = rest.get(line + 2 + size..)?.strip_prefix(b"\r\n")?;
            if size == 0 {
                return Some(rest);
            }
        }
    }
    let length = field(head, "content-length");
    let length = length
        .first()
        .map_or(Some(0), |length| length.parse().ok())?;
    body.get(length..)
}

/// Whether a whole request is among the bytes.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = split(bytes) else {
        return false;
    };
    behind(&String::from_utf8_lossy(head), body).is_some()
}

/// What a strict reader would stumble over.
pub(super) fn find_flaw(bytes: &[u8]) -> Option<String> {
    let shown = String::from_utf8_lossy(bytes).into_owned();
    let flaw = |what: &str| Some(format!("{what}: {shown:?}"));
    let Some((head, body)) = split(bytes) else {
        return flaw("no end of the head");
    };
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = lines.next().unwrap_or_default();
    let words: Vec<&[u8]> = start.split(|byte| *byte == b' ').collect();
    let is_visible =
        |word: &[u8]| !word.is_empty() && word.iter().all(|byte| *byte > 0x20 && *byte != 0x7f);
    if words.len() != 3 || !words.iter().all(|word| is_visible(word)) || words[2] != b"HTTP/1.1" {
        return flaw("request line");
    }
    if words[1].first() != Some(&b'/') {
        return flaw("target");
    }
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return flaw("line without a colon");
        };
        let is_token =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let is_text = |byte: &u8| *byte == b'\t' || *byte >= 0x20 && *byte != 0x7f;
        if colon == 0 || !line[..colon].iter().all(is_token) || !line[colon..].iter().all(is_text) {
            return flaw("field");
        }
    }
    let (hosts, lengths) = (
        field(&text, "host").len(),
        field(&text, "content-length").len(),
    );
    let codings = field(&text, "transfer-encoding");
    if hosts != 1
        || lengths + codings.len() > 1
        || codings.iter().any(|coding| *coding != "chunked")
    {
        return flaw("hosts and framings");
    }
    match behind(&text, body) {
        Some([]) => None,
        Some(_) => flaw("bytes behind the request"),
        None => flaw("unfinished"),
    }
}
