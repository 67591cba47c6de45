//! Our edits and answers written through pingora. Never adds or drops a header that the pipeline did not
//! ask for.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Result, Session};

use crate::pipeline::{Answer, HeaderEdit};

/// Whether the client asks for another protocol: `Upgrade` alone does not, `Connection` must name
/// it (RFC 9110, 7.8).
pub(super) fn asks_for_upgrade(head: &RequestHeader) -> bool {
    let named = head.headers.get_all(CONNECTION).iter().any(|value| {
        let tokens = value.as_bytes().split(|&byte| byte == b',');
        tokens
            .map(<[u8]>::trim_ascii)
            .any(|token| token.eq_ignore_ascii_case(b"upgrade"))
    });
    // As the native engine sees it, HTTP/2 in the clear is no upgrade that anybody gets.
    let is_h2c = head.headers.get_all(UPGRADE).iter().any(|value| {
        let mut names = value.as_bytes().split(|&byte| byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"))
    });
    named && !is_h2c && head.version == Version::HTTP_11 && head.headers.contains_key(UPGRADE)
}

/// A head of pingora's that can be edited: the one for the endpoint or the one for the client.
pub(super) trait EditableHead {
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<()>;
    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<()>;
    fn remove(&mut self, name: &HeaderName);
}

impl EditableHead for RequestHeader {
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<()> {
        self.insert_header(name, value)
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<()> {
        self.append_header(name, value).map(|_| ())
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

impl EditableHead for ResponseHeader {
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<()> {
        self.insert_header(name, value)
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<()> {
        self.append_header(name, value).map(|_| ())
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
}

/// Does what the pipeline asked for, in its order.
pub(super) fn apply(edits: Vec<HeaderEdit>, head: &mut impl EditableHead) -> Result<()> {
    for edit in edits {
        match edit {
            HeaderEdit::Set(name, value) => head.set(name, value)?,
            HeaderEdit::Append(name, value) => head.append(name, value)?,
            HeaderEdit::Remove(name) => head.remove(&name),
        }
    }
    Ok(())
}

/// Sends an answer of our own. An unread request body makes pingora close the connection
/// afterwards, and say so.
pub(super) async fn write_answer(session: &mut Session, answer: Answer) -> Result<()> {
    let answer = answer.dated();
    let mut head = ResponseHeader::build(answer.status, Some(answer.headers.len() + 3))?;
    for (name, value) in answer.headers {
        head.append_header(name, value)?;
    }
    let is_bodiless = matches!(
        answer.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !is_bodiless {
        head.insert_header(CONTENT_LENGTH, answer.body.len())?;
    }
    if answer.close {
        session.set_keepalive(None);
    }
    let has_body = !answer.body.is_empty() && session.req_header().method != Method::HEAD;
    session
        .write_response_header(Box::new(head), !has_body)
        .await?;
    let body = if has_body { answer.body } else { Bytes::new() };
    session.write_response_body(Some(body), true).await
}
