//! What an authority says of a certificate (an OCSP response, RFC 6960), as far as an edge must know
//! it: for which certificate, whether it is good, and until when. Never checks its signature:
//! clients do.

use time::{Date, Month, OffsetDateTime, Time};

/// What matters of one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staple {
    /// Serial number of the certificate, as in the certificate.
    pub(super) serial: Vec<u8>,
    pub(super) is_good: bool,
    /// Seconds since the Unix epoch; a response without an end is good for as long as it lies there.
    pub(super) until: i64,
}

/// Reads the first answer of a successful response (RFC 6960, 4.2.1).
pub(super) fn read(der: &[u8]) -> Option<Staple> {
    let mut response = Reader(der).enter(SEQUENCE)?;
    if response.take(ENUMERATED)? != [0] {
        return None;
    }
    let mut bytes = response.enter(TAGGED)?.enter(SEQUENCE)?;
    bytes.take(OBJECT_IDENTIFIER)?;
    let basic = bytes.take(OCTET_STRING)?;
    let mut data = Reader(basic).enter(SEQUENCE)?.enter(SEQUENCE)?;
    // Version, responder and time of making stand before the answers.
    let mut answers = loop {
        let (tag, content) = data.next()?;
        if tag == SEQUENCE {
            break Reader(content);
        }
    };
    let mut answer = answers.enter(SEQUENCE)?;
    let mut id = answer.enter(SEQUENCE)?;
    id.take(SEQUENCE)?;
    id.take(OCTET_STRING)?;
    id.take(OCTET_STRING)?;
    let serial = id.take(INTEGER)?.to_vec();
    let (status, _) = answer.next()?;
    answer.take(GENERALIZED_TIME)?;
    let until = match answer.next() {
        Some((TAGGED, content)) => unix_seconds(Reader(content).take(GENERALIZED_TIME)?)?,
        _ => i64::MAX,
    };
    Some(Staple {
        serial,
        is_good: status == GOOD,
        until,
    })
}

/// Reads DER, one value after the other.
struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk::<2>()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            let count = usize::from(first & 0x7f);
            if !(1..=3).contains(&count) {
                return None;
            }
            let (digits, after) = rest.split_at_checked(count)?;
            length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }

    fn enter(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }
}

/// `YYYYMMDDHHMMSSZ` (RFC 5280, 4.1.2.5.2).
fn unix_seconds(text: &[u8]) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = std::str::from_utf8(text.get(range)?).ok()?;
        digits.parse::<u16>().ok()
    };
    let small = |range| u8::try_from(number(range)?).ok();
    if text.len() != 15 || text[14] != b'Z' {
        return None;
    }
    let month = Month::try_from(small(4..6)?).ok()?;
    let date = Date::from_calendar_date(number(0..4)?.into(), month, small(6..8)?).ok()?;
    let time = Time::from_hms(small(8..10)?, small(10..12)?, small(12..14)?).ok()?;
    Some(OffsetDateTime::new_utc(date, time).unix_timestamp())
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, constructed.
const TAGGED: u8 = 0xa0;
/// `[0]`, primitive.
const GOOD: u8 = 0x80;

#[cfg(test)]
mod tests {
    use portcullis_testkit::certificates::ocsp_response;

    use super::*;

    #[test]
    fn an_answer_tells_serial_status_and_end() {
        let der = ocsp_response(&[7, 8], true, "20400101000000Z");
        let expected = Staple {
            serial: vec![7, 8],
            is_good: true,
            until: 2_208_988_800,
        };
        assert_eq!(read(&der), Some(expected));
        let revoked = ocsp_response(&[7, 8], false, "20400101000000Z");
        assert!(!read(&revoked).unwrap().is_good);
    }

    #[test]
    fn damaged_answers_are_no_answers_and_harm_nobody() {
        let der = ocsp_response(&[7], true, "20400101000000Z");
        for length in 0..der.len() {
            let _ = read(&der[..length]);
            let mut damaged = der.clone();
            damaged[length] ^= 0xff;
            let _ = read(&damaged);
        }
        assert_eq!(read(&der[..der.len() / 2]), None);
        assert_eq!(read(&ocsp_response(&[7], true, "20401301000000Z")), None);
        assert_eq!(
            read(b"\x30\x03\x0a\x01\x06"),
            None,
            "the authority refused to answer"
        );
    }
}
