//! Listeners: addresses and names that are free, certificates that work, server names that are reached.
//! Never binds anything.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;

use portcullis_ops::decode::Located;
use portcullis_ops::diagnostic::Span;

use super::super::file::{FileCertificate, FileClientAuth, FileListener, FileTls};
use super::super::{
    Certificate, CertificateFiles, ClientAuth, ClientRules, Listener, NamePattern, Passthrough,
    Problem, Tls, certificate, client_auth, ticket_keys,
};
use super::Parser;

impl Parser<'_> {
    pub(super) fn listeners(&self) -> Vec<Listener> {
        self.check_addresses();
        let mut names = HashSet::new();
        let listeners = self.file.listeners.iter();
        listeners
            .filter_map(|listener| self.listener(listener, &mut names))
            .collect()
    }

    fn listener(&self, file: &FileListener, names: &mut HashSet<String>) -> Option<Listener> {
        let name = self.listener_name(file, names);
        let tls = file.tls.as_ref().map(|tls| self.tls(tls));
        let passthrough = self.passthrough(file);
        if let Some(tls) = &tls {
            self.check_hidden_certificates(file, tls);
        }
        let all = self.file.max_connections.value;
        if file.max_connections.is_written && file.max_connections.value > all {
            let message = format!("all listeners together accept only {all} connections");
            let hint = "raise `max_connections` at the top level, or lower this one";
            self.report
                .warning(file.max_connections.span, message, hint);
        }
        Some(Listener {
            name: name?,
            address: file.address.as_ref()?.value,
            tls,
            engine: file.engine,
            passthrough,
            max_connections: file.max_connections.value,
            connections_per_address: file.connections_per_address.clone(),
            clients: file.clients.as_ref().map(|clients| self.clients(clients)),
            proxy_protocol: file.proxy_protocol.clone(),
            security_headers: file.security_headers.clone(),
            redirect_to_https: file.redirect_to_https.as_ref().map(|port| port.value),
            paths: file.paths,
            rate_limits: self.rate_limit_ids(&file.rate_limits),
            limits: file.limits.clone(),
            timeouts: file.timeouts.clone(),
            http2: file.http2.clone(),
        })
    }

    fn listener_name(&self, file: &FileListener, names: &mut HashSet<String>) -> Option<String> {
        if let Some(name) = &file.name {
            if !names.insert(name.value.clone()) {
                let message = format!("two listeners are called `{}`", name.value);
                self.report
                    .error_with_hint(name.span, message, "give one another name");
            }
            return Some(name.value.clone());
        }
        let address = file.address.as_ref()?.value;
        // Only addresses with port 0 can be equal here.
        let candidates = (1..).map(|number: u32| match number {
            1 => address.to_string(),
            _ => format!("{address}#{number}"),
        });
        let name = candidates.into_iter().find(|name| !names.contains(name))?;
        names.insert(name.clone());
        Some(name)
    }

    fn check_addresses(&self) {
        let mut earlier: Vec<&Located<SocketAddr>> = Vec::new();
        for address in self
            .file
            .listeners
            .iter()
            .filter_map(|listener| listener.address.as_ref())
        {
            let taken = earlier
                .iter()
                .find(|known| collide(known.value, address.value));
            if let Some(taken) = taken {
                let message = format!("`{}` is taken by another listener", address.value);
                let hint = format!("line {} has {}", taken.span.line, taken.value);
                self.report.error_with_hint(address.span, message, hint);
            }
            earlier.push(address);
        }
    }

    fn tls(&self, file: &FileTls) -> Tls {
        let mut certificates: Vec<Certificate> = Vec::new();
        for files in &file.certificates {
            let Some(loaded) = self.certificate(files) else {
                continue;
            };
            self.check_hidden(files, &loaded, &certificates);
            certificates.push(loaded);
        }
        let ticket_keys = file.ticket_key_file.as_ref().and_then(|file| {
            let mut problems = Vec::new();
            let path = self.surroundings.directory.join(&file.value);
            let keys = ticket_keys::load(&path, &mut problems);
            self.tell(problems, |_| file.span);
            keys
        });
        Tls {
            certificates,
            unknown_name: file.unknown_name,
            min_version: file.min_version,
            ticket_keys,
            client_auth: self.client_auth(file),
        }
    }

    fn client_auth(&self, file: &FileTls) -> Vec<ClientAuth> {
        let mut earlier: Vec<&FileClientAuth> = Vec::new();
        let mut all = Vec::new();
        for rules in &file.client_auth {
            self.check_reached(rules, &earlier);
            earlier.push(rules);
            let Some(ca) = &rules.ca else { continue };
            let directory = self.surroundings.directory;
            let places = ClientRules {
                is_optional: rules.is_optional,
                ca: directory.join(&ca.value),
                crl: rules.crl.as_ref().map(|crl| directory.join(&crl.value)),
            };
            let mut problems = Vec::new();
            let trust = client_auth::load(&places, self.now_unix_seconds(), &mut problems);
            self.tell(problems, |path| match &rules.crl {
                Some(crl) if Some(path) == places.crl.as_deref() => crl.span,
                _ => ca.span,
            });
            let names = rules.names.iter().map(|name| name.value.clone());
            all.extend(trust.map(|trust| ClientAuth {
                names: names.collect(),
                rules: places,
                trust,
                sends_chain: rules.sends_chain,
            }));
        }
        all
    }

    /// Rules that an earlier entry hides ask nobody for anything.
    fn check_reached(&self, rules: &FileClientAuth, earlier: &[&FileClientAuth]) {
        let hint = "the first entry for a name counts; put the more exact one first";
        if earlier.iter().any(|one| one.names.is_empty()) {
            let message = "an earlier entry without `names` takes every connection";
            self.report.error_with_hint(rules.span, message, hint);
            return;
        }
        let known: Vec<_> = earlier.iter().flat_map(|one| &one.names).collect();
        for name in &rules.names {
            if known.iter().any(|known| covers(&known.value, &name.value)) {
                let message = "an earlier entry takes every connection of this server name";
                self.report.error_with_hint(name.span, message, hint);
            }
        }
    }

    fn certificate(&self, file: &FileCertificate) -> Option<Certificate> {
        let (cert, key) = (file.cert.as_ref()?, file.key.as_ref()?);
        let directory = self.surroundings.directory;
        let files = CertificateFiles {
            cert: directory.join(&cert.value),
            key: directory.join(&key.value),
            ocsp: file.ocsp.as_ref().map(|ocsp| directory.join(&ocsp.value)),
        };
        let mut problems = Vec::new();
        let loaded = certificate::load(&files, self.now_unix_seconds(), &mut problems);
        self.tell(problems, |path| match &file.ocsp {
            Some(ocsp) if Some(path) == files.ocsp.as_deref() => ocsp.span,
            _ if path == files.key => key.span,
            _ => cert.span,
        });
        loaded
    }

    pub(super) fn tell(&self, problems: Vec<Problem>, place: impl Fn(&Path) -> Span) {
        for problem in problems {
            let span = place(&problem.path);
            problem.tell(span, self.report);
        }
    }

    /// Of two for the same names the client gets the one whose kind of key it can verify.
    fn check_hidden(&self, file: &FileCertificate, loaded: &Certificate, earlier: &[Certificate]) {
        let kind = loaded.key.key.algorithm();
        let same = earlier.iter().filter(|one| one.key.key.algorithm() == kind);
        let names: HashSet<_> = same.flat_map(|one| &one.names).collect();
        let is_hidden = loaded.names.iter().all(|name| names.contains(name));
        if let (true, false, Some(cert)) = (is_hidden, earlier.is_empty(), &file.cert) {
            let message = "an earlier certificate has every name of this one";
            self.report
                .warning(cert.span, message, "remove one of them");
        }
    }

    fn passthrough(&self, file: &FileListener) -> Vec<Passthrough> {
        let mut earlier: Vec<&Located<NamePattern>> = Vec::new();
        let mut rules = Vec::new();
        for rule in &file.passthrough {
            if let Some(sni) = &rule.sni {
                if let Some(first) = earlier
                    .iter()
                    .find(|first| covers(&first.value, &sni.value))
                {
                    let message = "an earlier server name takes every connection of this one";
                    let hint = format!(
                        "see line {}; put the more exact name first",
                        first.span.line
                    );
                    self.report.error_with_hint(sni.span, message, hint);
                }
                earlier.push(sni);
            }
            let cluster = rule
                .cluster
                .as_ref()
                .and_then(|cluster| self.cluster(cluster));
            if let (Some(sni), Some(cluster)) = (&rule.sni, cluster) {
                rules.push(Passthrough {
                    sni: sni.value.clone(),
                    cluster,
                });
            }
        }
        rules
    }

    fn check_hidden_certificates(&self, file: &FileListener, tls: &Tls) {
        for sni in file.passthrough.iter().filter_map(|rule| rule.sni.as_ref()) {
            let names = tls
                .certificates
                .iter()
                .flat_map(|certificate| &certificate.names);
            if names.into_iter().any(|name| covers(&sni.value, name)) {
                let message = "this listener has a certificate for the name, which is never used";
                let hint = "such connections are passed through before TLS is terminated";
                self.report.warning(sni.span, message, hint);
            }
        }
    }
}

/// Whether the kernel refuses the second of two addresses. A port of 0 is never taken, and whether
/// `[::]` takes IPv4 as well is left to the kernel to say.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same_family = one.is_ipv4() == other.is_ipv4();
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || (is_same_family && is_any))
}

/// Whether every name that the second pattern takes is taken by the first.
pub(super) fn covers(first: &NamePattern, second: &NamePattern) -> bool {
    match second {
        NamePattern::Exact(name) => first.matches(name),
        NamePattern::Wildcard(_) => first == second,
    }
}
