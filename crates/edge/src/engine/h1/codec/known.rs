//! Field names that the codec itself acts on, and the tag by which names are compared. Never holds
//! a value.

/// Length and some letters of a name: names that are equal but for case have equal tags, and names
/// with equal tags are rarely different. Comparing tags is one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u32);

impl Tag {
    #[inline]
    pub(super) const fn of(name: &[u8]) -> Self {
        // Bit 5 makes letters lower-case; what it does to other characters it does to all of them.
        const LOWER: u32 = 0x2020_2000;
        let [first, .., last] = name else {
            // One letter, or none.
            let only = if name.is_empty() { 0 } else { name[0] };
            return Self(((only as u32) << 24 | LOWER) | name.len() as u32);
        };
        // `x-forwarded-host` and `x-forwarded-port` differ only there.
        let inner = name[name.len().saturating_sub(4)];
        let length = (name.len() & 0xff) as u32;
        let letters = (*first as u32) << 8 | (inner as u32) << 16 | (*last as u32) << 24;
        Self(letters | LOWER | length)
    }

    /// One of 64 bits, for a set that may claim too much but never too little.
    #[inline]
    pub(super) const fn bit(self) -> u64 {
        1 << (self.0.wrapping_mul(0x9e37_79b9) >> 26)
    }
}

/// A name the codec acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Other,
    Connection,
    ContentLength,
    Expect,
    Host,
    Http2Settings,
    KeepAlive,
    ProxyAuthorization,
    ProxyConnection,
    Te,
    TransferEncoding,
    Upgrade,
}

impl Known {
    #[inline]
    pub(super) fn of(name: &[u8], tag: Tag) -> Self {
        let (text, known): (&[u8], Self) = match tag {
            CONNECTION => (b"connection", Self::Connection),
            CONTENT_LENGTH => (b"content-length", Self::ContentLength),
            EXPECT => (b"expect", Self::Expect),
            HOST => (b"host", Self::Host),
            HTTP2_SETTINGS => (b"http2-settings", Self::Http2Settings),
            KEEP_ALIVE => (b"keep-alive", Self::KeepAlive),
            PROXY_AUTHORIZATION => (b"proxy-authorization", Self::ProxyAuthorization),
            PROXY_CONNECTION => (b"proxy-connection", Self::ProxyConnection),
            TE => (b"te", Self::Te),
            TRANSFER_ENCODING => (b"transfer-encoding", Self::TransferEncoding),
            UPGRADE => (b"upgrade", Self::Upgrade),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(text) {
            known
        } else {
            Self::Other
        }
    }
}

const CONNECTION: Tag = Tag::of(b"connection");
const CONTENT_LENGTH: Tag = Tag::of(b"content-length");
const EXPECT: Tag = Tag::of(b"expect");
const HOST: Tag = Tag::of(b"host");
const HTTP2_SETTINGS: Tag = Tag::of(b"http2-settings");
const KEEP_ALIVE: Tag = Tag::of(b"keep-alive");
const PROXY_AUTHORIZATION: Tag = Tag::of(b"proxy-authorization");
const PROXY_CONNECTION: Tag = Tag::of(b"proxy-connection");
const TE: Tag = Tag::of(b"te");
const TRANSFER_ENCODING: Tag = Tag::of(b"transfer-encoding");
const UPGRADE: Tag = Tag::of(b"upgrade");
