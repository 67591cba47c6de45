//! Recovery codes: what stands in for an authenticator that is lost. Never stored in clear, never used twice.

use portcullis_ops::Secret;

use super::{AccountId, TokenHash, base32};

/// How many codes a set has.
pub const RECOVERY_CODES: usize = 10;

/// 80 bits: nobody finds one by trying, so that a fast hash keeps them.
const CODE_BYTES: usize = 10;
/// Symbols between two dashes.
const GROUP: usize = 4;

/// One code. `Debug` never shows it.
#[derive(Clone, Debug)]
pub struct RecoveryCode(Secret<[u8; CODE_BYTES]>);

impl RecoveryCode {
    /// Makes a code of random bytes.
    pub fn from_random(bytes: [u8; CODE_BYTES]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Reads what somebody typed: case, blanks and dashes do not matter.
    pub fn parse(text: &str) -> Option<Self> {
        // Before anything else: a requester chooses the length.
        if text.len() > 64 {
            return None;
        }
        let symbols = text.chars().filter(|c| !matches!(c, '-' | ' '));
        base32::decode(symbols).map(Self::from_random)
    }

    /// As it is shown, once.
    pub fn reveal(&self) -> Secret<String> {
        let symbols = base32::encode(self.0.expose()).to_lowercase();
        let mut text = String::with_capacity(symbols.len() + symbols.len() / GROUP);
        for (at, symbol) in symbols.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(symbol);
        }
        Secret::new(text)
    }

    /// What the store keeps. The account goes in: the same code of two accounts would not look the same.
    pub fn hash(&self, account: AccountId) -> TokenHash {
        let mut text = account.to_string().into_bytes();
        text.extend_from_slice(self.0.expose());
        TokenHash::of(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> RecoveryCode {
        RecoveryCode::from_random(std::array::from_fn(|i| i as u8 * 23 + 9))
    }

    #[test]
    fn sec_g08_a_code_has_at_least_64_bits_and_reads_back_however_it_is_typed() {
        const { assert!(CODE_BYTES * 8 >= 64) };
        let account = AccountId::from_random([1; 16]);
        let text = code().reveal();
        let text = text.expose();
        assert_eq!((text.len(), text.matches('-').count()), (19, 3));
        for typed in [
            text.clone(),
            text.to_uppercase(),
            text.replace('-', ""),
            text.replace('-', " "),
        ] {
            let read = RecoveryCode::parse(&typed).unwrap();
            assert_eq!(read.hash(account), code().hash(account), "{typed}");
        }
        for other in [
            "",
            "123456",
            &text[1..],
            &format!("{text}a"),
            "0000-0000-0000-0000",
        ] {
            assert!(RecoveryCode::parse(other).is_none(), "{other}");
        }
        assert!(RecoveryCode::parse(&"-".repeat(1 << 20)).is_none());
    }

    #[test]
    fn sec_g08_the_same_code_of_another_account_has_another_hash() {
        let of = |byte| code().hash(AccountId::from_random([byte; 16]));
        assert_ne!(of(1), of(2));
    }
}
