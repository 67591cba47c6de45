//! A TLS client of the edge's own whose files are read again when they change: authorities, and the
//! certificate that it shows. Never puts anything into force that a start would refuse.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;

use super::authorities::{Manner, Trust};
use super::problem::Problem;
use super::{ClientCertificate, TlsVersion, client_certificate};

/// Where trust and identity come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The authorities trusted, if they are not the system's.
    pub ca: Option<PathBuf>,
    /// Whether certificates are verified.
    pub is_verified: bool,
    /// Certificate and key of the edge's own, if it has any.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// What these files held when they were read.
pub(crate) struct Loaded {
    pub(super) trust: Trust,
    pub(super) own: Option<ClientCertificate>,
}

/// How the client speaks, whatever its files hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speech {
    pub(super) protocol: &'static str,
    pub(super) min_version: TlsVersion,
    /// See [`Manner`].
    pub(super) resumes: bool,
}

/// The client, and where it comes from.
pub struct LiveClient {
    files: ClientFiles,
    speech: Speech,
    current: ArcSwap<CurrentClient>,
}

/// What connections that begin now are made with.
pub struct CurrentClient {
    /// Ready to use; may remember sessions.
    pub client: Arc<ClientConfig>,
    /// Differs whenever authorities or the chain of the edge's own certificate do: connections made
    /// under others must not be used. Within one build of the program it is fixed.
    pub identity: u64,
}

impl ClientFiles {
    /// All of them.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let ca = self.ca.iter().filter(|_| self.is_verified);
        let own = self.own.iter().flat_map(|(cert, key)| [cert, key]);
        ca.chain(own).cloned().collect()
    }

    /// Reads them. `None` means that one of the problems is fatal.
    pub(crate) fn load(
        &self,
        now_unix_seconds: i64,
        problems: &mut Vec<Problem>,
    ) -> Option<Loaded> {
        let trust = Trust::load(self.ca.as_deref(), self.is_verified, problems);
        let own = match &self.own {
            None => Some(None),
            Some((cert, key)) => {
                client_certificate::load(cert, key, now_unix_seconds, problems).map(Some)
            }
        };
        Some(Loaded {
            trust: trust?,
            own: own?,
        })
    }
}

impl LiveClient {
    pub(super) fn new(files: ClientFiles, speech: Speech, loaded: &Loaded) -> Self {
        let current = ArcSwap::from_pointee(make(speech, loaded));
        Self {
            files,
            speech,
            current,
        }
    }

    /// Where it comes from.
    pub fn files(&self) -> &ClientFiles {
        &self.files
    }

    /// For a connection that begins now.
    pub fn current(&self) -> Arc<CurrentClient> {
        self.current.load_full()
    }

    /// Puts what its files hold now into force; says whether that is anything else.
    pub(crate) fn replace(&self, loaded: &Loaded) -> bool {
        let next = make(self.speech, loaded);
        let is_other = next.identity != self.current.load().identity;
        if is_other {
            self.current.store(Arc::new(next));
        }
        is_other
    }
}

fn make(speech: Speech, loaded: &Loaded) -> CurrentClient {
    let Loaded { trust, own } = loaded;
    let mut hasher = DefaultHasher::new();
    let authorities = match trust {
        Trust::File(authorities, _) => Some(authorities),
        Trust::System(_) | Trust::Anybody => None,
    };
    authorities.hash(&mut hasher);
    // A key belongs to its certificate.
    own.as_ref().map(|own| &own.chain).hash(&mut hasher);
    let client = trust.client(Manner {
        protocol: speech.protocol,
        min_version: speech.min_version,
        certificate: own.as_ref().map(|own| Arc::clone(&own.certified)),
        resumes: speech.resumes,
    });
    CurrentClient {
        client,
        identity: hasher.finish(),
    }
}

impl fmt::Debug for LiveClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveClient")
            .field("files", &self.files)
            .field("speech", &self.speech)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CurrentClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentClient").finish_non_exhaustive()
    }
}
