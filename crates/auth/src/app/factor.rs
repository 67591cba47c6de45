//! Second factors: authenticators and recovery codes, and proofs of identity that are young enough to change them.
//! Never hands out a secret twice, and never changes a factor for somebody who only holds a session.

mod challenge;
mod check;
mod enrol;
mod fresh;
mod login;

use crate::domain::AccountId;
use crate::keys::Purpose;
use crate::store::TotpRecord;

use super::{App, Outcome, Refusal};
use crate::domain::TotpSecret;

pub(crate) use challenge::Challenge;
pub(crate) use enrol::Factors;

impl App {
    /// The authenticator that counts; `None` while there is none, or none that was confirmed.
    pub(super) async fn factor_of(&self, account: AccountId) -> Outcome<Option<TotpRecord>> {
        let record = self.store.totp(account).await?;
        Ok(record.filter(|record| record.confirmed_at.is_some()))
    }

    fn totp_secret(&self, account: AccountId, record: &TotpRecord) -> Outcome<TotpSecret> {
        let id = account.to_string();
        let bytes = self.keys.unseal(Purpose::Totp, &id, &record.sealed_secret);
        bytes
            .and_then(|bytes| TotpSecret::from_bytes(&bytes))
            .ok_or_else(|| {
                Refusal::internal(
                    "the secret of an authenticator does not open: is this the key encryption key it was sealed under?",
                )
            })
    }
}

#[cfg(test)]
mod tests;
