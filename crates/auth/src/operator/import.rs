//! Takes accounts over from another system, out of a file with one JSON object a line. Never runs a hash, never changes an
//! account that is there, and never shows what a line says: it may be a secret.
//!
//! The file is read twice. The first time everything in it is judged; what cannot be imported is told with the number of
//! its line, and then nothing is, unless it was asked for. The second time each account is stored in a transaction of its
//! own, so that a run which ended in the middle is ended by running it again.

mod line;
mod lines;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;

use super::OperatorError;
use crate::config::Config;
use crate::domain::{
    Account, AccountId, AccountStatus, Actor, AuditEntry, AuditEvent, Email, TokenHash, UnixMillis,
};
use crate::password::{self, is_readable};
use crate::random;
use crate::server::Stores;
use crate::store::AccountCreation;
use line::Line;
use lines::Lines;

/// Mistakes that are told one by one; the rest is counted.
const TOLD_MAX: usize = 1000;

/// Whether a stored hash, of this service or of another system, would be checked at a login here: argon2id, argon2i,
/// bcrypt, PBKDF2-SHA-256 or scrypt, in the form and within the bounds of docs/passwords.md. One under a pepper needs
/// that pepper as well.
pub fn is_importable(password_hash: &str) -> bool {
    is_readable(password_hash)
}

/// What becomes of a file with lines that cannot be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMistake {
    /// Nothing of it is imported.
    RefuseAll,
    /// The others are imported.
    LeaveOut,
}

/// Whether anything is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Accounts are stored.
    Import,
    /// What would become of each line is only told.
    DryRun,
}

/// A line that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong, and what to write instead.
    pub says: String,
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Accounts that were added, or would be.
    pub added: u64,
    /// Accounts whose address was taken; they are as they were.
    pub present: u64,
    /// Lines that cannot be imported.
    pub left_out: u64,
    /// The first of them.
    pub mistakes: Vec<Mistake>,
}

/// Imports the accounts of a file. `progress` hears of every account.
pub async fn import(
    config: &Config,
    file: &Path,
    on_mistake: OnMistake,
    effect: Effect,
    mut progress: impl FnMut(&Imported),
) -> Result<Imported, OperatorError> {
    let opened = File::open(file).map_err(OperatorError::Input)?;
    let mut reader = BufReader::new(opened);
    let mut imported = judge(&mut reader)?;
    if imported.left_out > 0 && on_mistake == OnMistake::RefuseAll {
        return Ok(imported);
    }
    reader.rewind().map_err(OperatorError::Input)?;
    let stores = Stores::open(config).await?;
    let stored = async {
        let mut lines = Lines::new(reader);
        let mut seen = Seen::default();
        while let Some((number, text)) = lines.next().map_err(OperatorError::Input)? {
            // Judged before, and what was a mistake then is told already.
            let Ok(Some(line)) = text.and_then(Line::parse) else {
                continue;
            };
            if seen.is_repeated(number, &line.email).is_some() {
                continue;
            }
            match store(&stores, config, line, effect).await? {
                AccountCreation::Created => imported.added += 1,
                AccountCreation::EmailTaken => imported.present += 1,
            }
            progress(&imported);
        }
        Ok(imported)
    }
    .await;
    stores.close().await;
    stored
}

fn judge(reader: &mut BufReader<File>) -> Result<Imported, OperatorError> {
    let mut imported = Imported::default();
    let mut seen = Seen::default();
    let mut lines = Lines::new(reader);
    while let Some((number, text)) = lines.next().map_err(OperatorError::Input)? {
        let says = match text.and_then(Line::parse) {
            Ok(None) => None,
            Ok(Some(line)) => seen.is_repeated(number, &line.email),
            Err(says) => Some(says),
        };
        if let Some(says) = says {
            imported.left_out += 1;
            if imported.mistakes.len() < TOLD_MAX {
                let line = number;
                imported.mistakes.push(Mistake { line, says });
            }
        }
    }
    Ok(imported)
}

async fn store(
    stores: &Stores,
    config: &Config,
    line: Line,
    effect: Effect,
) -> Result<AccountCreation, OperatorError> {
    if effect == Effect::DryRun {
        let found = stores.store.account_by_email(&line.email).await?;
        return Ok(match found {
            Some(_) => AccountCreation::EmailTaken,
            None => AccountCreation::Created,
        });
    }
    let now = super::now();
    let peppers = config.passwords.peppers();
    let account = Account {
        id: AccountId::from_random(random::bytes()),
        email: line.email,
        password_hash: line
            .password_hash
            .unwrap_or_else(|| password::unmatchable(&peppers)),
        status: AccountStatus::Active,
        roles: line.roles,
        tier: line.tier,
        created_at: now,
    };
    let audit = AuditEntry {
        account: Some(account.id),
        ..AuditEntry::by(Actor::Operator, now, AuditEvent::AccountImported)
    };
    let verified_at: Option<UnixMillis> = line.is_verified.then_some(now);
    let created = stores
        .store
        .import_account(&account, verified_at, &audit)
        .await?;
    Ok(created)
}

/// Addresses of the lines so far.
#[derive(Default)]
struct Seen(HashMap<TokenHash, u64>);

impl Seen {
    /// What is wrong with a line whose address an earlier one has.
    fn is_repeated(&mut self, number: u64, email: &Email) -> Option<String> {
        let digest = TokenHash::of(email.as_str().as_bytes());
        let first = *self.0.entry(digest).or_insert(number);
        (first != number)
            .then(|| format!("`email` is that of line {first}: leave one of the two lines out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_b02_what_would_hang_a_thread_or_is_unknown_is_not_imported() {
        let bcrypt = "$2y$12$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
        assert!(is_importable(bcrypt));
        for text in [
            "",
            "secret",
            &bcrypt.replace("$12$", "$31$"),
            "$1$x$y",
            "{SHA}x",
        ] {
            assert!(!is_importable(text), "{text}");
        }
    }
}
