//! Where a list goes on: a place with a code that is good for that list alone. Never believed without the code, and
//! bound as a value, never part of a statement.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::ChainKey;

/// Guessing a code gains nothing but a page that the guesser may read anyway.
const CODE_BYTES: usize = 16;
/// Places are ids and addresses.
const BYTES_MAX: usize = 512;

/// The cursor of a place in a list.
pub(crate) fn write(key: &ChainKey, list: &str, place: &str) -> String {
    let code = key.cursor(list, place);
    let code = code
        .first_chunk::<CODE_BYTES>()
        .copied()
        .unwrap_or_default();
    URL_SAFE_NO_PAD.encode([code.as_slice(), place.as_bytes()].concat())
}

/// The place, if the cursor is one of this list.
pub(crate) fn read(key: &ChainKey, list: &str, cursor: &str) -> Option<String> {
    if cursor.len() > BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (_, place) = bytes.split_first_chunk::<CODE_BYTES>()?;
    let place = String::from_utf8(place.to_vec()).ok()?;
    let expected = write(key, list, &place);
    aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), cursor.as_bytes())
        .ok()
        .map(|()| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_h05_a_cursor_is_good_for_its_own_list_alone() {
        let (key, other) = (ChainKey::new(&[7; 32]), ChainKey::new(&[8; 32]));
        let cursor = write(&key, "of logins", "42");
        assert_eq!(read(&key, "of logins", &cursor).as_deref(), Some("42"));
        assert_eq!(read(&key, "of logouts", &cursor), None);
        assert_eq!(read(&other, "of logins", &cursor), None);
        let mut bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let moved = URL_SAFE_NO_PAD.encode(&bytes);
        for strange in [
            moved.as_str(),
            "",
            "AAAA",
            "42",
            "0 OR 1=1",
            "'; DROP TABLE audit; --",
            &cursor[..cursor.len() - 1],
            &format!("{cursor}="),
            &"A".repeat(100_000),
        ] {
            assert_eq!(read(&key, "of logins", strange), None, "{strange:.40}");
        }
    }
}
