//! Who may connect with which certificate: authorities and revocation lists, read at the start and
//! whenever their files change. Never trusts the system's authorities.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs as provider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::NamePattern;
use super::problem::{Problem, read};

/// What some names of a listener ask of clients.
#[derive(Debug)]
pub struct ClientAuth {
    /// Server names it is for; empty is every one, and none.
    pub names: Vec<NamePattern>,
    /// What it trusts, and where that is read.
    pub rules: ClientRules,
    /// What was read.
    pub trust: ClientTrust,
    /// Whether endpoints are told of the certificates above the client's own.
    pub sends_chain: bool,
}

/// Where trust comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRules {
    /// Whether a client may come without a certificate.
    pub is_optional: bool,
    /// Authorities, PEM.
    pub ca: PathBuf,
    /// What they revoked, PEM or DER.
    pub crl: Option<PathBuf>,
}

/// Ready for rustls.
#[derive(Clone, Debug)]
pub struct ClientTrust {
    /// Decides.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Digest of everything that it decides by.
    pub context: [u8; 32],
}

/// Reads the files. `None` means that one of the problems is fatal.
pub(crate) fn load(
    rules: &ClientRules,
    now_unix_seconds: i64,
    problems: &mut Vec<Problem>,
) -> Option<ClientTrust> {
    let roots = authorities(&rules.ca, now_unix_seconds, problems);
    let crls = match &rules.crl {
        Some(path) => revoked(path, now_unix_seconds, problems),
        None => Some(Vec::new()),
    };
    let (roots, crls) = (roots?, crls?);
    let mut digest = Context::new(&SHA256);
    digest.update(&[1, rules.is_optional.into(), rules.crl.is_some().into()]);
    let crl_bytes = crls.iter().map(AsRef::as_ref);
    for bytes in roots.iter().map(AsRef::as_ref).chain(crl_bytes) {
        let bytes: &[u8] = bytes;
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    let mut context = [0; 32];
    context.copy_from_slice(digest.finish().as_ref());
    match verifier(rules, roots, crls) {
        Ok(verifier) => Some(ClientTrust { verifier, context }),
        Err(error) => {
            let message = format!("{} cannot be used: {error}", rules.ca.display());
            problems.push(Problem::fatal(&rules.ca, message, BEGINS_CERTIFICATE));
            None
        }
    }
}

/// With a list, a certificate that no list speaks of is refused, and so is everybody once the list
/// is out of date: who was revoked since is unknown.
fn verifier(
    rules: &ClientRules,
    roots: Vec<CertificateDer<'static>>,
    crls: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(provider::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
    if !crls.is_empty() {
        builder = builder
            .with_crls(crls)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    if rules.is_optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| error.to_string())
}

fn authorities(
    path: &Path,
    now_unix_seconds: i64,
    problems: &mut Vec<Problem>,
) -> Option<Vec<CertificateDer<'static>>> {
    let pem = read(path, problems)?;
    let shown = path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let Some(found) = found.ok().filter(|found| !found.is_empty()) else {
        let message = format!("{shown} holds no usable certificates");
        problems.push(Problem::fatal(path, message, BEGINS_CERTIFICATE));
        return None;
    };
    for der in &found {
        let Ok((_, authority)) = X509Certificate::from_der(der) else {
            continue;
        };
        let until = authority.validity().not_after;
        if until.timestamp() < now_unix_seconds {
            let message = format!("an authority in {shown} expired on {until}");
            problems.push(Problem::warning(path, message, "replace or remove it"));
        }
    }
    Some(found)
}

fn revoked(
    path: &Path,
    now_unix_seconds: i64,
    problems: &mut Vec<Problem>,
) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let bytes = read(path, problems)?;
    let shown = path.display();
    let lists: Vec<_> = match bytes.starts_with(b"-----") || !bytes.starts_with(&[0x30]) {
        true => CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .unwrap_or_default(),
        false => vec![CertificateRevocationListDer::from(bytes)],
    };
    let mut refuse = |message: String, hint: &str| {
        problems.push(Problem::fatal(path, message, hint));
        None
    };
    if lists.is_empty() {
        return refuse(format!("{shown} holds no revocation list"), BEGINS_CRL);
    }
    for list in &lists {
        let Ok((_, list)) = CertificateRevocationList::from_der(list) else {
            return refuse(format!("{shown} is damaged"), "fetch it again");
        };
        let until = list
            .next_update()
            .filter(|until| until.timestamp() < now_unix_seconds);
        if let Some(until) = until {
            let message = format!("the revocation list in {shown} was to be renewed by {until}");
            return refuse(message, "fetch a new one: who was revoked since is unknown");
        }
    }
    Some(lists)
}

const BEGINS_CERTIFICATE: &str = "a PEM file with -----BEGIN CERTIFICATE-----";
const BEGINS_CRL: &str = "a file with -----BEGIN X509 CRL-----, or the same in DER";

/// Which rules are for which server name: positions in the list of a listener.
#[derive(Clone, Debug, Default)]
pub struct ClientPolicies {
    names: Vec<Vec<NamePattern>>,
    send_chains: Vec<bool>,
}

impl ClientPolicies {
    /// Those of a listener, in order.
    pub fn new(rules: &[ClientAuth]) -> Self {
        Self {
            names: rules.iter().map(|rule| rule.names.clone()).collect(),
            send_chains: rules.iter().map(|rule| rule.sends_chain).collect(),
        }
    }

    /// Whether endpoints are told of the whole chain of clients that come by these rules.
    pub fn sends_chain(&self, policy: Option<usize>) -> bool {
        policy.is_some_and(|policy| self.send_chains.get(policy) == Some(&true))
    }

    /// The first that is for this name, or for every one; `None` asks for no certificate. Names of
    /// any case, with or without a dot behind.
    pub fn of(&self, name: Option<&str>) -> Option<usize> {
        if self.names.is_empty() {
            return None;
        }
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let is_for = |names: &Vec<NamePattern>| {
            let name = name.as_deref();
            names.is_empty() || name.is_some_and(|name| names.iter().any(|one| one.matches(name)))
        };
        self.names.iter().position(is_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rules_for_a_name_are_its_rules() {
        let exact = |name: &str| NamePattern::Exact(name.to_owned());
        let wildcard = NamePattern::Wildcard("in.test".to_owned());
        let policies = |names| ClientPolicies {
            names,
            send_chains: Vec::new(),
        };
        let some = policies(vec![vec![exact("a.test")], vec![wildcard]]);
        assert_eq!(some.of(Some("A.test.")), Some(0));
        assert_eq!(some.of(Some("x.in.test")), Some(1));
        assert_eq!(some.of(Some("in.test")), None);
        assert_eq!(some.of(None), None);
        let all = policies(vec![vec![exact("a.test")], Vec::new()]);
        assert_eq!(all.of(Some("a.test")), Some(0));
        assert_eq!(all.of(Some("else.test")), Some(1));
        assert_eq!(all.of(None), Some(1));
    }
}
