//! What is kept of a request head when the head itself is gone, in one allocation. Never decides
//! what is kept.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

use super::head::{Fields, Head};

/// The request's id and host as values to send on, and what only the access log wants to know.
#[derive(Debug)]
pub(super) struct Excerpt {
    pub(super) id: HeaderValue,
    /// The host as the client asked for it, if it can be sent on.
    pub(super) host: Option<HeaderValue>,
    logged: Option<Logged>,
}

/// Where in the text the words for the access log are.
#[derive(Debug)]
struct Logged {
    text: Bytes,
    host: Option<Range<usize>>,
    path: Range<usize>,
    user_agent: Option<Range<usize>>,
}

impl Excerpt {
    /// Of `head`, under this id. `is_logged` decides whether path and user agent are kept.
    pub(super) fn new(id: &[u8], head: &impl Head, is_logged: bool) -> Self {
        let host = head.authority().unwrap_or_default().as_bytes();
        let (path, user_agent) = if is_logged {
            let user_agent = head.fields().first(&http::header::USER_AGENT);
            (head.path().as_bytes(), user_agent)
        } else {
            (&[][..], None)
        };
        let parts = [id, host, path, user_agent.unwrap_or_default()];
        let text = Bytes::from(parts.concat());
        let host = id.len()..id.len() + host.len();
        let path = host.end..host.end + path.len();
        let has_host = head.authority().is_some();
        Self {
            id: HeaderValue::from_maybe_shared(text.slice(..id.len()))
                .expect("ids are visible ASCII"),
            host: has_host
                .then(|| HeaderValue::from_maybe_shared(text.slice(host.clone())).ok())
                .flatten(),
            logged: is_logged.then(|| Logged {
                user_agent: user_agent.map(|_| path.end..text.len()),
                host: has_host.then_some(host),
                path,
                text,
            }),
        }
    }

    /// Host for the access log.
    pub(super) fn logged_host(&self) -> Option<&str> {
        let logged = self.logged.as_ref()?;
        logged.str(logged.host.as_ref()?)
    }

    /// Path for the access log.
    pub(super) fn logged_path(&self) -> Option<&str> {
        let logged = self.logged.as_ref()?;
        logged.str(&logged.path)
    }

    /// User agent for the access log.
    pub(super) fn logged_user_agent(&self) -> Option<&[u8]> {
        let logged = self.logged.as_ref()?;
        logged.text.get(logged.user_agent.clone()?)
    }
}

impl Logged {
    fn str(&self, range: &Range<usize>) -> Option<&str> {
        std::str::from_utf8(self.text.get(range.clone())?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeHead;
    use super::*;

    #[test]
    fn everything_is_kept_for_the_log() {
        let head = FakeHead::get("/a?b").with("user-agent", "curl/8");
        let excerpt = Excerpt::new(b"abc", &head, true);
        assert_eq!(excerpt.id, "abc");
        assert_eq!(excerpt.host.as_ref().unwrap(), "example.com");
        assert_eq!(excerpt.logged_host(), Some("example.com"));
        assert_eq!(excerpt.logged_path(), Some("/a"));
        assert_eq!(excerpt.logged_user_agent(), Some(&b"curl/8"[..]));
    }

    #[test]
    fn what_the_client_left_out_is_not_empty_but_absent() {
        let head = FakeHead::get("/").without("host");
        let excerpt = Excerpt::new(b"abc", &head, true);
        assert_eq!((&excerpt.host, excerpt.logged_host()), (&None, None));
        assert_eq!(excerpt.logged_user_agent(), None);
        let empty = FakeHead::get("/").with("user-agent", "");
        let excerpt = Excerpt::new(b"abc", &empty, true);
        assert_eq!(excerpt.logged_user_agent(), Some(&b""[..]));
    }

    #[test]
    fn without_a_log_only_what_is_sent_on_is_kept() {
        let head = FakeHead::get("/a").with("user-agent", "curl/8");
        let excerpt = Excerpt::new(b"abc", &head, false);
        assert_eq!(excerpt.host.as_ref().unwrap(), "example.com");
        assert_eq!((excerpt.logged_path(), excerpt.logged_host()), (None, None));
    }

    #[test]
    fn host_that_no_field_may_hold_is_for_the_log_alone() {
        let head = FakeHead::get("/").without("host").authority_is("a\nb");
        let excerpt = Excerpt::new(b"abc", &head, true);
        assert_eq!(excerpt.host, None);
        assert_eq!(excerpt.logged_host(), Some("a\nb"));
    }
}
