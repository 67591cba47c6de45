//! Replaces what changed: a certificate, the trust in clients, ticket secrets. Never puts anything
//! into force that a start would refuse.

use std::path::PathBuf;
use std::sync::Arc;

use super::store::CertificateStore;
use super::tickets::TicketSecrets;
use super::{Shown, Terminator, lock, server_config};
use crate::config::{Certificate, Problem, certificate, client_auth, ticket_keys};

/// Files that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Chain, key and staple, by position.
    Certificate(usize),
    /// Authorities and revocation lists, by position.
    Clients(usize),
    /// Ticket secrets.
    Tickets,
}

/// What came of reading them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reloaded {
    /// They say what is in force already.
    Same,
    /// In force now.
    Replaced,
    /// The old ones stay.
    Refused(Problem),
}

impl Terminator {
    /// All parts with their files.
    pub(super) fn parts(&self) -> Vec<(Part, Vec<PathBuf>)> {
        let shown = lock(&self.shown);
        let certificates = shown.iter().enumerate().map(|(index, one)| {
            let files = &one.certificate.files;
            let both = [files.cert.clone(), files.key.clone()];
            let all = both.into_iter().chain(files.ocsp.clone());
            (Part::Certificate(index), all.collect())
        });
        let clients = self.guarded.iter().enumerate().map(|(index, guarded)| {
            let ca = std::iter::once(guarded.rules.ca.clone());
            let all = ca.chain(guarded.rules.crl.clone());
            (Part::Clients(index), all.collect())
        });
        let tickets = self.ticket_file.iter();
        let tickets = tickets.map(|file| (Part::Tickets, vec![file.clone()]));
        certificates.chain(clients).chain(tickets).collect()
    }

    /// Reads the files of a part again.
    pub(super) fn reload(&self, part: Part, now_unix_seconds: i64) -> Reloaded {
        let mut problems = Vec::new();
        let reloaded = match part {
            Part::Certificate(index) => {
                self.reload_certificate(index, now_unix_seconds, &mut problems)
            }
            Part::Clients(index) => self.reload_clients(index, now_unix_seconds, &mut problems),
            Part::Tickets => self.reload_tickets(&mut problems),
        };
        let Some(reloaded) = reloaded else {
            let problem = problems.into_iter().find(|problem| problem.is_fatal);
            return problem.map_or(Reloaded::Same, Reloaded::Refused);
        };
        reloaded
    }

    fn reload_certificate(
        &self,
        index: usize,
        now: i64,
        problems: &mut Vec<Problem>,
    ) -> Option<Reloaded> {
        let files = lock(&self.shown).get(index)?.certificate.files.clone();
        let loaded = certificate::load(&files, now, problems);
        let Some(loaded) = loaded else {
            let problem = problems.iter().find(|problem| problem.is_fatal);
            let message = problem.map(|problem| problem.message.clone());
            lock(&self.shown).get_mut(index)?.problem = message;
            return None;
        };
        let mut loaded = loaded;
        let mut shown = lock(&self.shown);
        let place = shown.get_mut(index)?;
        let staple = files.ocsp.as_ref();
        let bad_staple = problems
            .iter()
            .find(|problem| Some(&problem.path) == staple);
        if bad_staple.is_some() && place.certificate.key.cert == loaded.key.cert {
            // It is as good as before until its own end.
            loaded.key = Arc::clone(&place.certificate.key);
            loaded.ocsp_until = place.certificate.ocsp_until;
        }
        let is_same = is_same(&place.certificate, &loaded);
        *place = Shown {
            certificate: loaded,
            problem: bad_staple.map(|problem| problem.message.clone()),
        };
        if !is_same {
            self.put_in_force(&shown);
        }
        drop(shown);
        self.show_expiry();
        Some(match (bad_staple, is_same) {
            (Some(problem), _) => Reloaded::Refused(problem.clone()),
            (None, true) => Reloaded::Same,
            (None, false) => Reloaded::Replaced,
        })
    }

    fn put_in_force(&self, shown: &[Shown]) {
        let certificates = shown.iter().map(|one| &one.certificate);
        let store = CertificateStore::new(certificates);
        self.certificates.0.store(Arc::new(store));
    }

    /// Takes staples away that are out of date: clients would take them for an attack. Returns the
    /// files of those that went.
    pub(super) fn drop_old_staples(&self, now_unix_seconds: i64) -> Vec<PathBuf> {
        let mut shown = lock(&self.shown);
        let mut gone = Vec::new();
        for Shown { certificate, .. } in shown.iter_mut() {
            let is_old = certificate
                .ocsp_until
                .is_some_and(|until| until < now_unix_seconds);
            if !is_old {
                continue;
            }
            let mut key = (*certificate.key).clone();
            key.ocsp = None;
            certificate.key = Arc::new(key);
            certificate.ocsp_until = None;
            gone.extend(certificate.files.ocsp.clone());
        }
        if !gone.is_empty() {
            self.put_in_force(&shown);
        }
        gone
    }

    fn reload_clients(
        &self,
        index: usize,
        now: i64,
        problems: &mut Vec<Problem>,
    ) -> Option<Reloaded> {
        let guarded = self.guarded.get(index)?;
        let trust = client_auth::load(&guarded.rules, now, problems)?;
        let mut context = lock(&guarded.context);
        if *context == trust.context {
            return Some(Reloaded::Same);
        }
        let (certificates, secrets) = (&self.certificates, &self.secrets);
        let config = server_config(self.min_version, certificates, secrets, Some(&trust)).ok()?;
        *context = trust.context;
        guarded.config.store(config);
        Some(Reloaded::Replaced)
    }

    fn reload_tickets(&self, problems: &mut Vec<Problem>) -> Option<Reloaded> {
        let (TicketSecrets::Shared(secrets), Some(path)) = (&*self.secrets, &self.ticket_file)
        else {
            return None;
        };
        let read = ticket_keys::load(path, problems)?.secrets;
        let in_force = secrets.load();
        let both = in_force.iter().zip(&read);
        let is_same = in_force.len() == read.len()
            && both
                .into_iter()
                .all(|(one, other)| one.expose() == other.expose());
        if is_same {
            return Some(Reloaded::Same);
        }
        secrets.store(Arc::new(read));
        Some(Reloaded::Replaced)
    }
}

/// Keys belong to their certificates, so those suffice.
fn is_same(one: &Certificate, other: &Certificate) -> bool {
    one.key.cert == other.key.cert && one.key.ocsp == other.key.ocsp
}
