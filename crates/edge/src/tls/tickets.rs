//! Keys of session tickets: of our own, drawn anew every 12 hours and forgotten, or derived from a
//! secret that several edges share. Never lets a ticket pass where other clients are let in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use portcullis_ops::Secret;
use rustls::server::ProducesTickets;

/// How long tickets are made with one key. They are taken during the next such time, too.
pub(crate) const PERIOD_SECONDS: u64 = 12 * 60 * 60;

/// Where keys come from.
#[derive(Debug)]
pub(super) enum TicketSecrets {
    /// Nobody else has them, and what is older than one period is gone.
    Own(Mutex<Own>),
    /// From a file: the first makes tickets, all of them take tickets.
    Shared(ArcSwap<Vec<Secret<String>>>),
}

/// Drawn at random, for two periods.
#[derive(Debug, Default)]
pub(super) struct Own {
    period: u64,
    current: Option<Secret<[u8; KEY_BYTES]>>,
    previous: Option<Secret<[u8; KEY_BYTES]>>,
}

impl TicketSecrets {
    /// Of this process alone.
    pub(super) fn own() -> Self {
        Self::Own(Mutex::default())
    }

    /// Those of a file, which has at least one.
    pub(super) fn shared(secrets: Vec<Secret<String>>) -> Self {
        Self::Shared(ArcSwap::from_pointee(secrets))
    }

    /// The secrets of a file as they are now; none of our own.
    fn file(&self) -> Option<Arc<Vec<Secret<String>>>> {
        match self {
            Self::Own(_) => None,
            Self::Shared(secrets) => Some(secrets.load_full()),
        }
    }

    /// What made tickets that may come back now: what makes them first.
    fn candidates(
        &self,
        period: u64,
        file: Option<&Vec<Secret<String>>>,
    ) -> Vec<(u64, Secret<Vec<u8>>)> {
        match self {
            Self::Own(own) => {
                let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
                own.roll(period);
                let current = own.current.as_ref().map(|secret| (period, secret));
                let previous = own.previous.as_ref().map(|secret| (period - 1, secret));
                let both = current.into_iter().chain(previous);
                both.map(|(period, secret)| (period, Secret::new(secret.expose().to_vec())))
                    .collect()
            }
            Self::Shared(_) => {
                let secrets = file.map_or(&[][..], Vec::as_slice);
                // The clock of another edge may be ahead of ours.
                let periods = [period, period.saturating_sub(1), period + 1];
                let all = periods.into_iter().flat_map(|period| {
                    let secrets = secrets.iter();
                    secrets.map(move |secret| (period, secret.expose().clone().into_bytes()))
                });
                all.map(|(period, secret)| (period, Secret::new(secret)))
                    .collect()
            }
        }
    }
}

/// What another process needs to take our tickets and make the same.
pub(crate) struct TicketPast {
    pub(crate) period: u64,
    pub(crate) current: Option<Secret<[u8; KEY_BYTES]>>,
    pub(crate) previous: Option<Secret<[u8; KEY_BYTES]>>,
}

impl TicketSecrets {
    /// Nothing if they come from a file, which others read as well.
    pub(super) fn past(&self) -> Option<TicketPast> {
        let Self::Own(own) = self else {
            return None;
        };
        let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
        own.roll(unix_seconds() / PERIOD_SECONDS);
        let copy = |secret: &Secret<[u8; KEY_BYTES]>| Secret::new(*secret.expose());
        Some(TicketPast {
            period: own.period,
            current: own.current.as_ref().map(copy),
            previous: own.previous.as_ref().map(copy),
        })
    }

    /// Goes on where another process was. Nobody may have used them yet.
    pub(super) fn resume(&self, past: TicketPast) {
        if let Self::Own(own) = self {
            *own.lock().unwrap_or_else(PoisonError::into_inner) = Own {
                period: past.period,
                current: past.current,
                previous: past.previous,
            };
        }
    }
}

impl Own {
    /// Where the system has no randomness there is no key, and no ticket.
    fn roll(&mut self, period: u64) {
        if self.period == period && self.current.is_some() {
            return;
        }
        let old = self.current.take();
        self.previous = old.filter(|_| self.period + 1 == period);
        self.period = period;
        let mut drawn = [0; KEY_BYTES];
        if getrandom::fill(&mut drawn).is_ok() {
            self.current = Some(Secret::new(drawn));
        }
    }
}

/// Makes and takes the tickets of those who are let in by the same rules.
#[derive(Debug)]
pub(super) struct Tickets {
    secrets: Arc<TicketSecrets>,
    /// Stands for the rules: a ticket opens under no others.
    context: [u8; 32],
    /// To derive them costs more than to seal a ticket.
    keys: ArcSwapOption<Keys>,
}

/// What the secrets of one period give for one context.
#[derive(Debug)]
struct Keys {
    period: u64,
    /// The secrets of a file that they come from.
    file: Option<Arc<Vec<Secret<String>>>>,
    all: Vec<([u8; NAME_BYTES], RandomizedNonceKey)>,
}

impl Keys {
    fn is_of(&self, period: u64, file: Option<&Arc<Vec<Secret<String>>>>) -> bool {
        let is_same_file = match (&self.file, file) {
            (Some(own), Some(file)) => Arc::ptr_eq(own, file),
            (None, None) => true,
            _ => false,
        };
        self.period == period && is_same_file
    }
}

impl Tickets {
    /// `context` is a digest of everything that decides which clients are let in.
    pub(super) fn new(secrets: Arc<TicketSecrets>, context: [u8; 32]) -> Self {
        Self {
            secrets,
            context,
            keys: ArcSwapOption::empty(),
        }
    }

    /// Those for tickets at this moment: what makes them first.
    fn keys(&self, now: u64) -> Arc<Keys> {
        let (period, file) = (now / PERIOD_SECONDS, self.secrets.file());
        if let Some(keys) = self.keys.load_full()
            && keys.is_of(period, file.as_ref())
        {
            return keys;
        }
        let candidates = self.secrets.candidates(period, file.as_deref());
        let derived = candidates
            .iter()
            .map_while(|(period, secret)| self.derive(secret, *period));
        let all = derived.collect();
        let keys = Arc::new(Keys { period, file, all });
        // Without randomness there is none: the next ticket asks again.
        if !keys.all.is_empty() {
            self.keys.store(Some(Arc::clone(&keys)));
        }
        keys
    }

    fn seal(&self, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        let keys = self.keys(now);
        let (name, key) = keys.all.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(*name), &mut sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME_BYTES + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.append(&mut sealed);
        Some(ticket)
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys(now);
        let (known, key) = keys.all.iter().find(|(known, _)| known == name)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.open_in_place(nonce, Aad::from(*known), &mut opened);
        plain.ok().map(|plain| plain.to_vec())
    }

    /// The name of a key, and the key.
    fn derive(
        &self,
        secret: &Secret<Vec<u8>>,
        period: u64,
    ) -> Option<([u8; NAME_BYTES], RandomizedNonceKey)> {
        let period = period.to_be_bytes();
        let info: [&[u8]; 2] = [&self.context, &period];
        let derived = Salt::new(HKDF_SHA256, LABEL).extract(secret.expose());
        let mut bytes = [0; NAME_BYTES + KEY_BYTES];
        derived.expand(&info, Derived).ok()?.fill(&mut bytes).ok()?;
        let bytes = Secret::new(bytes);
        let (name, key) = bytes.expose().split_first_chunk::<NAME_BYTES>()?;
        Some((*name, RandomizedNonceKey::new(&AES_256_GCM, key).ok()?))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let left = PERIOD_SECONDS - unix_seconds() % PERIOD_SECONDS;
        u32::try_from(left + PERIOD_SECONDS).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, unix_seconds())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, unix_seconds())
    }
}

struct Derived;

impl KeyType for Derived {
    fn len(&self) -> usize {
        NAME_BYTES + KEY_BYTES
    }
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

const LABEL: &[u8] = b"portcullis session ticket 1";
const NAME_BYTES: usize = 16;
/// Of a secret of our own, and of a key.
pub(crate) const KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 40_000 * PERIOD_SECONDS;

    fn shared(secrets: &[&str]) -> Arc<TicketSecrets> {
        let secrets = secrets
            .iter()
            .map(|secret| Secret::new((*secret).to_owned()));
        Arc::new(TicketSecrets::shared(secrets.collect()))
    }

    fn tickets(secrets: &Arc<TicketSecrets>) -> Tickets {
        Tickets::new(Arc::clone(secrets), [1; 32])
    }

    #[test]
    fn a_ticket_is_taken_in_the_period_after_its_own_and_not_later() {
        for secrets in [Arc::new(TicketSecrets::own()), shared(&["one"])] {
            let tickets = tickets(&secrets);
            let ticket = tickets.seal(b"session", NOON).unwrap();
            let opened = |now| tickets.open(&ticket, now);
            assert_eq!(opened(NOON).unwrap(), b"session");
            assert_eq!(opened(NOON + 2 * PERIOD_SECONDS - 1).unwrap(), b"session");
            assert_eq!(opened(NOON + 2 * PERIOD_SECONDS), None);
        }
    }

    #[test]
    fn keys_change_with_the_period_and_tickets_each_time() {
        let tickets = tickets(&shared(&["one"]));
        let name = |now| tickets.seal(b"session", now).unwrap()[..NAME_BYTES].to_vec();
        assert_eq!(name(NOON), name(NOON + PERIOD_SECONDS - 1));
        assert_ne!(name(NOON), name(NOON + PERIOD_SECONDS));
        assert_ne!(tickets.seal(b"same", NOON), tickets.seal(b"same", NOON));
    }

    #[test]
    fn keys_of_our_own_are_forgotten_after_a_long_pause() {
        let tickets = tickets(&Arc::new(TicketSecrets::own()));
        let ticket = tickets.seal(b"session", NOON).unwrap();
        assert!(tickets.seal(b"later", NOON + 3 * PERIOD_SECONDS).is_some());
        assert_eq!(
            tickets.open(&ticket, NOON),
            None,
            "not even if the clock goes back"
        );
    }

    #[test]
    fn who_takes_over_opens_what_was_made_before_and_makes_the_same() {
        let (before, after) = (TicketSecrets::own(), TicketSecrets::own());
        let (before, after) = (Arc::new(before), Arc::new(after));
        let now = unix_seconds();
        let ticket = tickets(&before).seal(b"session", now).unwrap();
        after.resume(before.past().unwrap());
        assert_eq!(tickets(&after).open(&ticket, now).unwrap(), b"session");
        let next = tickets(&after).seal(b"session", now).unwrap();
        assert!(tickets(&before).open(&next, now).is_some());
        assert!(shared(&["one"]).past().is_none());
    }

    #[test]
    fn a_shared_secret_opens_what_another_edge_made_a_little_ahead_of_us() {
        let (one, other) = (shared(&["same"]), shared(&["same"]));
        let ticket = tickets(&one).seal(b"session", NOON).unwrap();
        assert!(tickets(&other).open(&ticket, NOON - 1).is_some());
        assert!(tickets(&shared(&["else"])).open(&ticket, NOON).is_none());
    }

    #[test]
    fn the_first_secret_makes_tickets_and_every_one_takes_them() {
        let old = tickets(&shared(&["old"])).seal(b"session", NOON).unwrap();
        let both = shared(&["new", "old"]);
        assert!(tickets(&both).open(&old, NOON).is_some());
        let new = tickets(&both).seal(b"session", NOON).unwrap();
        assert!(tickets(&shared(&["new"])).open(&new, NOON).is_some());
        assert!(tickets(&shared(&["old"])).open(&new, NOON).is_none());
    }

    #[test]
    fn secrets_that_are_read_again_replace_the_keys_at_once() {
        let secrets = shared(&["old"]);
        let tickets = tickets(&secrets);
        let old = tickets.seal(b"session", NOON).unwrap();
        let TicketSecrets::Shared(file) = &*secrets else {
            panic!("of a file");
        };
        file.store(Arc::new(vec![Secret::new("new".to_owned())]));
        assert_eq!(tickets.open(&old, NOON), None);
        let new = tickets.seal(b"session", NOON).unwrap();
        assert!(self::tickets(&shared(&["new"])).open(&new, NOON).is_some());
    }

    #[test]
    fn a_ticket_opens_under_no_other_rules() {
        let secrets = shared(&["one"]);
        let ticket = tickets(&secrets).seal(b"session", NOON).unwrap();
        let stricter = Tickets::new(Arc::clone(&secrets), [2; 32]);
        assert_eq!(stricter.open(&ticket, NOON), None);
    }

    #[test]
    fn damaged_tickets_are_refused() {
        let tickets = tickets(&shared(&["one"]));
        let ticket = tickets.seal(b"session", NOON).unwrap();
        for length in 0..ticket.len() {
            assert_eq!(tickets.open(&ticket[..length], NOON), None, "{length}");
            let mut damaged = ticket.clone();
            damaged[length] ^= 1;
            assert_eq!(tickets.open(&damaged, NOON), None, "{length}");
        }
    }

    #[test]
    fn clients_are_told_how_long_a_ticket_is_good_for() {
        let lifetime = u64::from(tickets(&shared(&["one"])).lifetime());
        assert!((PERIOD_SECONDS..=2 * PERIOD_SECONDS).contains(&lifetime));
    }
}
