//! What belongs to one connection only, and must not travel on with a message (RFC 9110, 7.6.1).
//! Never lets a sender remove a field that a proxy between has vouched for.

use super::HeadError;
use super::fields::{Field, Span};
use super::known::{Known, Tag};
use super::line::elements;

/// Connection options in one head. More are an attempt to make us compare names all day.
const OPTIONS_MAX: usize = 32;

/// What the `Connection` fields of a head say.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) closes: bool,
    pub(super) keeps_alive: bool,
    pub(super) upgrades: bool,
    count: usize,
    /// Names of fields that are for this connection only.
    nominated: Vec<(Span, Tag)>,
}

impl Options {
    pub(super) fn clear(&mut self) {
        self.closes = false;
        self.keeps_alive = false;
        self.upgrades = false;
        self.count = 0;
        self.nominated.clear();
    }

    /// Reads one `Connection` field.
    pub(super) fn read(&mut self, window: &[u8], field: Field) -> Result<(), HeadError> {
        let value = field.value.of(window);
        for option in elements(value) {
            self.count += 1;
            if self.count > OPTIONS_MAX {
                return Err(HeadError::Malformed("connection options"));
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keeps_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrades = true;
            } else {
                self.nominate(window, option);
            }
        }
        Ok(())
    }

    fn nominate(&mut self, window: &[u8], option: &[u8]) {
        let tag = Tag::of(option);
        if Known::of(option, tag) == Known::Other && !is_protected(option) {
            self.nominated.push((Span::within(window, option), tag));
        }
    }

    /// Whether the field ends here, whichever way the message goes.
    #[inline]
    pub(super) fn removes(&self, buffer: &[u8], field: &Field) -> bool {
        match field.known {
            Known::Connection
            | Known::ContentLength
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade => true,
            Known::Expect | Known::Host | Known::ProxyAuthorization => false,
            Known::Other => !self.nominated.is_empty() && self.names(buffer, field),
        }
    }

    fn names(&self, buffer: &[u8], field: &Field) -> bool {
        let mut nominated = self.nominated.iter();
        nominated.any(|&(name, tag)| field.is_named(buffer, tag, name.of(buffer)))
    }
}

/// Fields that travel end to end whatever `Connection` says: some proxy may have added them, and
/// whoever names them wants it to look as if none had.
fn is_protected(name: &[u8]) -> bool {
    is_listed(name, PROTECTED, PROTECTED_PREFIXES)
}

/// Whether a field may be a trailer: not if it frames, routes, authorises, describes the content or
/// steers caches (RFC 9110, 6.5.1), for by then all of that has been decided without it.
pub(super) fn may_come_late(name: &[u8]) -> bool {
    !is_listed(name, PROTECTED, PROTECTED_PREFIXES)
        && !is_listed(name, NEVER_LATE, NEVER_LATE_PREFIXES)
}

fn is_listed(name: &[u8], names: &[&[u8]], prefixes: &[&[u8]]) -> bool {
    let begins = |prefix: &&[u8]| {
        name.get(..prefix.len())
            .is_some_and(|start| is_same(start, prefix))
    };
    prefixes.iter().any(begins) || names.iter().any(|other| is_same(name, other))
}

/// Many applications read `_` as `-` (CGI and its heirs). `other` is lower-case.
fn is_same(name: &[u8], other: &[u8]) -> bool {
    let plain = |byte: &u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    name.len() == other.len() && name.iter().map(plain).eq(other.iter().copied())
}

const PROTECTED_PREFIXES: &[&[u8]] = &[b"content-", b"x-auth-", b"x-forwarded-"];
const PROTECTED: &[&[u8]] = &[
    b"authorization",
    b"cache-control",
    b"cookie",
    b"forwarded",
    b"origin",
    b"set-cookie",
    b"traceparent",
    b"tracestate",
    b"via",
    b"x-health-cause",
    b"x-instance-id",
    b"x-real-ip",
    b"x-request-id",
    b"x-served-by",
];

const NEVER_LATE_PREFIXES: &[&[u8]] = &[b"access-control-", b"if-", b"proxy-", b"sec-"];
const NEVER_LATE: &[&[u8]] = &[
    b"age",
    b"connection",
    b"date",
    b"expect",
    b"expires",
    b"host",
    b"http2-settings",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy",
    b"range",
    b"refresh",
    b"retry-after",
    b"strict-transport-security",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"warning",
    b"www-authenticate",
];
