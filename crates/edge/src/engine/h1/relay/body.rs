//! A request body over all attempts: what is decoded of it, and what is kept to be sent again. Never
//! keeps more than its bound.

use crate::engine::h1::codec::{BodyDecoder, Framing};

/// Bodies of requests that may be repeated are kept up to this size, as pingora does. Most bodies
/// that carry a key are far smaller, and a thousand of them must not fill the memory.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// The body of one request.
#[derive(Debug)]
pub(in crate::engine::h1) struct RequestBody {
    pub(super) decoder: BodyDecoder,
    /// All that was decoded so far, if it is kept.
    kept: Option<Vec<u8>>,
    is_begun: bool,
}

impl RequestBody {
    /// `is_kept`: whether another attempt may need it.
    pub(in crate::engine::h1) fn new(framing: Framing, is_kept: bool) -> Self {
        let fits = match framing {
            Framing::None => false,
            Framing::Length(bytes) => bytes <= KEPT_BYTES_MAX as u64,
            _ => true,
        };
        Self {
            decoder: BodyDecoder::new(framing),
            kept: (is_kept && fits).then(Vec::new),
            is_begun: false,
        }
    }

    /// Whether it was received to its end, if any of it was taken from the client.
    pub(in crate::engine::h1) fn received(&self) -> Option<bool> {
        self.is_begun.then(|| self.decoder.is_done())
    }

    /// Whether all that was taken from the client is still there.
    pub(super) fn is_replayable(&self) -> bool {
        !self.is_begun || self.kept.is_some()
    }

    /// What is to be sent again before more is taken.
    pub(super) fn kept(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Some of it was decoded.
    pub(super) fn keep(&mut self, data: &[u8]) {
        self.is_begun = true;
        if let Some(kept) = &mut self.kept {
            if kept.len() + data.len() > KEPT_BYTES_MAX {
                self.kept = None;
            } else {
                kept.extend_from_slice(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_kept_up_to_its_bound_and_only_if_asked() {
        let mut kept = RequestBody::new(Framing::Chunked, true);
        assert_eq!((kept.received(), kept.is_replayable()), (None, true));
        kept.keep(b"pay");
        assert_eq!((kept.kept(), kept.is_replayable()), (&b"pay"[..], true));
        assert_eq!(kept.received(), Some(false));
        kept.keep(&vec![b'x'; KEPT_BYTES_MAX - 3]);
        assert!(kept.is_replayable());
        kept.keep(b"x");
        assert_eq!((kept.kept(), kept.is_replayable()), (&b""[..], false));
        for (framing, is_kept) in [
            (Framing::Length(KEPT_BYTES_MAX as u64), true),
            (Framing::Length(KEPT_BYTES_MAX as u64 + 1), false),
        ] {
            let mut body = RequestBody::new(framing, true);
            body.keep(b"x");
            assert_eq!(body.is_replayable(), is_kept);
            let mut body = RequestBody::new(framing, false);
            assert!(body.is_replayable(), "nothing is lost yet");
            body.keep(b"x");
            assert!(!body.is_replayable());
        }
    }
}
