//! How an issuer's tokens and keys are read: as ours, or as those of any service that keeps to the
//! standards. Never makes the algorithm, the key or a time a matter of guessing in either.

use crate::TokenType;

/// Whose tokens are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A Portcullis auth service: `typ` is `at+jwt`, every claim of [`Claims`](crate::Claims) is
    /// there, and one message has one valid signature.
    Portcullis,
    /// Any other issuer. Less is demanded where the standards demand less: `typ` may also be `JWT`
    /// or absent; only `iss`, `sub`, `aud` and `exp` must be there; keys need no `alg` and those of
    /// unknown kinds are left out; and the second of the two ECDSA signatures of a message counts
    /// too, for RFC 7518 allows it and usual libraries make it every other time.
    Generic,
}

impl Profile {
    pub(crate) fn accepts_type(self, typ: Option<&str>) -> bool {
        let access_token = TokenType::AccessToken.typ();
        match (self, typ) {
            (Self::Portcullis, typ) => typ == Some(access_token),
            (Self::Generic, None) => true,
            (Self::Generic, Some(typ)) => {
                // A media type, whose `application/` may be left out (RFC 7515 section 4.1.9).
                let short = match typ.split_at_checked(APPLICATION.len()) {
                    Some((head, rest)) if head.eq_ignore_ascii_case(APPLICATION) => rest,
                    _ => typ,
                };
                ["JWT", access_token]
                    .iter()
                    .any(|known| short.eq_ignore_ascii_case(known))
            }
        }
    }

    /// Whether a key may bear this id, and a token name it. Ours have nothing that a path, a query
    /// or JSON would interpret; others may be any visible text, and are compared with keys we hold
    /// and with nothing else.
    pub(crate) fn accepts_key_id(self, kid: &str) -> bool {
        let is_accepted = match self {
            Self::Portcullis => |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte),
            Self::Generic => |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\',
        };
        (1..=KEY_ID_BYTES_MAX).contains(&kid.len()) && kid.bytes().all(is_accepted)
    }
}

const APPLICATION: &str = "application/";
/// Longest key id; a thumbprint has 43 bytes.
const KEY_ID_BYTES_MAX: usize = 128;
