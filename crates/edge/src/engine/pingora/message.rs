//! pingora's heads seen as ours, and our edits and answers written through pingora. Never adds or
//! drops a header that the pipeline did not ask for.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{ErrorType, OrErr, Result, Session};
use pingora::protocols::http::ServerSession;

use crate::pipeline::{Answer, Head, HeaderEdit};

/// A request head as pingora parsed it.
pub(super) struct PingoraHead<'a>(&'a RequestHeader);

impl<'a> PingoraHead<'a> {
    pub(super) fn new(header: &'a RequestHeader) -> Self {
        Self(header)
    }

    /// Whether the head is one that HTTP allows, where the parser behind allows more: names are tokens
    /// (RFC 9110 5.6.2), and what is asked for over HTTP/2 is HTTP.
    pub(super) fn is_well_formed(&self) -> bool {
        let mut names = self.0.headers.keys();
        let scheme = self.0.uri.scheme_str();
        names.all(|name| !name.as_str().contains('"'))
            && scheme.is_none_or(|scheme| ["http", "https"].contains(&scheme))
    }
}

impl Head for PingoraHead<'_> {
    type Fields = HeaderMap;

    fn method(&self) -> &Method {
        &self.0.method
    }

    fn version(&self) -> Version {
        self.0.version
    }

    fn path(&self) -> &str {
        self.0.uri.path()
    }

    fn query(&self) -> Option<&str> {
        self.0.uri.query()
    }

    fn authority(&self) -> Option<&str> {
        let target = self.0.uri.authority().map(http::uri::Authority::as_str);
        target.or_else(|| self.0.headers.get(http::header::HOST)?.to_str().ok())
    }

    fn fields(&self) -> &HeaderMap {
        &self.0.headers
    }
}

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

/// Makes a head that came over HTTP/2 one that HTTP/1.1 can carry: cookies in one field (RFC 9113
/// 8.2.3), and no wait for an interim answer, which pingora does not hand on.
pub(super) fn suit_http1(head: &mut RequestHeader) -> Result<()> {
    head.remove_header(&EXPECT);
    let mut crumbs = head.headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return Ok(());
    };
    let crumbs = [first, second].into_iter().chain(crumbs);
    let crumbs: Vec<&[u8]> = crumbs.map(HeaderValue::as_bytes).collect();
    let cookie = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
    let cookie = cookie.or_err(ErrorType::InvalidHTTPHeader, "cookies that do not join")?;
    head.insert_header(COOKIE, cookie)
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
    write_head(session, Box::new(head), !has_body).await?;
    if !has_body && session.is_http2() {
        return Ok(());
    }
    let body = if has_body { answer.body } else { Bytes::new() };
    session.write_response_body(Some(body), true).await
}

/// Sends a head, and over HTTP/2 the end with it where there is no body. pingora would send the end in
/// a frame of its own, and clients of gRPC believe a status in a head only if that is all there is.
pub(super) async fn write_head(
    session: &mut Session,
    head: Box<ResponseHeader>,
    is_end: bool,
) -> Result<()> {
    match session.as_downstream_mut() {
        ServerSession::H2(client) if is_end => client.write_response_header(head, true),
        _ => session.write_response_header(head, is_end).await,
    }
}
