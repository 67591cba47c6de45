//! TLS termination: which certificate, rules and keys answer a ClientHello. Never reads a socket,
//! and never uses a process-wide crypto provider.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerSessionMemoryCache,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::config::{
    Certificate, ClientPolicies, ClientRules, ClientTrust, Tls, TlsVersion, UnknownName,
};
use crate::metrics::TlsMetrics;

pub(crate) mod identity;
pub(crate) mod outward;
mod reload;
mod store;
mod tickets;
pub(crate) mod watch;

use store::CertificateStore;
pub(crate) use tickets::{KEY_BYTES, TicketPast};
use tickets::{TicketSecrets, Tickets};

/// What terminates the TLS of one listener. Parts are replaced while it runs, each as a whole.
#[derive(Debug)]
pub(crate) struct Terminator {
    listener: String,
    certificates: Arc<Resolver>,
    /// What the resolver was made of.
    shown: Mutex<Vec<Shown>>,
    unknown_name: UnknownName,
    min_version: TlsVersion,
    secrets: Arc<TicketSecrets>,
    /// What the configuration gave it, to know the same again.
    made_of: Vec<Arc<CertifiedKey>>,
    /// Where the secrets are read, if they are shared.
    ticket_file: Option<std::path::PathBuf>,
    /// For clients that are asked for nothing.
    open: ArcSwap<ServerConfig>,
    policies: ClientPolicies,
    /// By position in the policies.
    guarded: Vec<Guarded>,
    metrics: TlsMetrics,
}

/// A certificate, and how its files are.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// In force.
    pub(crate) certificate: Certificate,
    /// Why the files are not.
    pub(crate) problem: Option<String>,
}

/// What clients with a certificate get.
#[derive(Debug)]
struct Guarded {
    rules: ClientRules,
    context: Mutex<[u8; 32]>,
    config: ArcSwap<ServerConfig>,
}

/// How to go on with a client.
pub(crate) struct Choice {
    pub(crate) config: Arc<ServerConfig>,
    /// The rules it is let in by.
    pub(crate) policy: Option<usize>,
}

impl Terminator {
    /// Ready for the first handshake. Tickets of the process's own that `previous` made are taken on.
    pub(crate) fn new(
        listener: &str,
        tls: &Tls,
        metrics: TlsMetrics,
        previous: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let store = CertificateStore::new(&tls.certificates);
        let certificates = Arc::new(Resolver(ArcSwap::from_pointee(store)));
        let known = previous.filter(|previous| previous.ticket_file.is_none());
        let secrets = match (&tls.ticket_keys, known) {
            (Some(keys), _) => Arc::new(TicketSecrets::shared(keys.secrets.clone())),
            (None, Some(known)) => Arc::clone(&known.secrets),
            (None, None) => Arc::new(TicketSecrets::own()),
        };
        let shown = tls.certificates.iter().map(|certificate| Shown {
            certificate: certificate.clone(),
            problem: None,
        });
        let make = |trust| server_config(tls.min_version, &certificates, &secrets, trust);
        let guarded = tls.client_auth.iter().map(|auth| {
            Ok(Guarded {
                rules: auth.rules.clone(),
                context: Mutex::new(auth.trust.context),
                config: ArcSwap::from(make(Some(&auth.trust))?),
            })
        });
        let terminator = Self {
            listener: listener.to_owned(),
            made_of: keys_of(tls).cloned().collect(),
            shown: Mutex::new(shown.collect()),
            unknown_name: tls.unknown_name,
            min_version: tls.min_version,
            ticket_file: tls.ticket_keys.as_ref().map(|keys| keys.path.clone()),
            open: ArcSwap::from(make(None)?),
            policies: ClientPolicies::new(&tls.client_auth),
            guarded: guarded.collect::<Result<_, rustls::Error>>()?,
            certificates,
            secrets,
            metrics,
        };
        terminator.show_expiry();
        Ok(terminator)
    }

    /// Whether this very configuration made it, and not another with the same words: reading a file
    /// again makes others.
    pub(crate) fn is_made_of(&self, tls: &Tls) -> bool {
        let mut both = self.made_of.iter().zip(keys_of(tls));
        self.made_of.len() == tls.certificates.len()
            && both.all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// How to go on with a client that asks for this name, lower case; `None` refuses it.
    pub(crate) fn choose(&self, server_name: Option<&str>) -> Option<Choice> {
        let is_known = server_name.is_some_and(|name| self.certificates.0.load().knows(name));
        if !is_known && self.unknown_name == UnknownName::Refuse {
            return None;
        }
        let policy = self.policies.of(server_name);
        let guarded = policy.and_then(|policy| self.guarded.get(policy));
        let config = guarded.map_or(&self.open, |guarded| &guarded.config);
        Some(Choice {
            config: config.load_full(),
            policy,
        })
    }

    /// Name of its listener.
    pub(crate) fn listener(&self) -> &str {
        &self.listener
    }

    /// The certificates in force.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        lock(&self.shown).clone()
    }

    /// What another process needs to take the tickets of this one; nothing if a file has it.
    pub(crate) fn ticket_past(&self) -> Option<TicketPast> {
        self.secrets.past()
    }

    /// Takes the tickets of another process. Nobody may have come yet.
    pub(crate) fn resume_tickets(&self, past: TicketPast) {
        self.secrets.resume(past);
    }

    fn show_expiry(&self) {
        for Shown { certificate, .. } in lock(&self.shown).iter() {
            let file = certificate.files.cert.display().to_string();
            let until = certificate.not_after_unix_seconds;
            self.metrics.show_expiry(&file, until);
        }
    }
}

fn keys_of(tls: &Tls) -> impl Iterator<Item = &Arc<CertifiedKey>> {
    tls.certificates.iter().map(|certificate| &certificate.key)
}

/// The certificates in force.
#[derive(Debug)]
struct Resolver(ArcSwap<CertificateStore>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let store = self.0.load();
        store.choose(hello.server_name(), hello.signature_schemes())
    }
}

fn server_config(
    min_version: TlsVersion,
    certificates: &Arc<Resolver>,
    secrets: &Arc<TicketSecrets>,
    trust: Option<&ClientTrust>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions: &[&rustls::SupportedProtocolVersion] = match min_version {
        TlsVersion::Tls12 => &[&TLS13, &TLS12],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let verifier = match trust {
        Some(trust) => Arc::clone(&trust.verifier),
        None => WebPkiClientVerifier::no_client_auth(),
    };
    // X25519MLKEM768 comes first in the provider's list: what is recorded today shall not be read
    // by the computers of tomorrow.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::clone(certificates) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A ticket opens only under the rules that its client was let in by: changed authorities or
    // revocation lists are other rules.
    let context = trust.map_or([0; 32], |trust| trust.context);
    config.ticketer = Arc::new(Tickets::new(Arc::clone(secrets), context));
    // Each connection that resumes brings the next one: a second would only cost.
    config.send_tls13_tickets = 1;
    config.session_storage = match trust {
        // For TLS 1.2 clients that know no tickets.
        None => ServerSessionMemoryCache::new(SESSIONS_MAX),
        Some(_) => Arc::new(NoServerSessionStorage {}),
    };
    Ok(Arc::new(config))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sessions by id that one process remembers, each of a few hundred bytes.
const SESSIONS_MAX: usize = 4096;
