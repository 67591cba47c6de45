//! The `Date` of messages that lack one (RFC 9110, 6.6.1). Never changes one that is there.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

thread_local! {
    /// What was written last, and for which second since 1970.
    static LAST: RefCell<(u64, HeaderValue)> = RefCell::new(written(0));
}

/// This moment, to the second.
pub(super) fn date() -> HeaderValue {
    // A clock that stands before 1970 is told as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let second = since.unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|last| {
        if last.0 != second {
            *last = written(second);
        }
        last.1.clone()
    })
}

fn written(second: u64) -> (u64, HeaderValue) {
    let at = UNIX_EPOCH + Duration::from_secs(second);
    let text = httpdate::fmt_http_date(at);
    let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text));
    (second, value.expect("a date is visible ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_in_the_form_of_http() {
        let (_, value) = written(784_111_777);
        assert_eq!(value, "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_date_is_of_now() {
        let before = SystemTime::now() - Duration::from_secs(1);
        let date = httpdate::parse_http_date(date().to_str().unwrap()).unwrap();
        assert!(before <= date && date <= SystemTime::now(), "{date:?}");
    }
}
