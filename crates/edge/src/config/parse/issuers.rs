//! Issuers, and what routes ask of tokens: names resolved, keys on a safe way here, nothing that
//! contradicts itself. Never fetches anything.

use std::collections::HashSet;

use portcullis_ops::decode::{Located, nearest};
use portcullis_token::{AccessVerifier, Profile};
use rustls_pki_types::ServerName;

use super::super::address::{self, HttpAddress};
use super::super::authorities::{Manner, Trust};
use super::super::file::{FileAction, FileAuth, FileIssuer, FileRoute};
use super::super::issuer::{ALGORITHMS, Auth, Issuer, IssuerId, JwksSource, JwksTls, Tunnels};
use super::Parser;

impl Parser<'_> {
    pub(super) fn issuers(&self) -> Vec<Issuer> {
        let files = self.file.issuers.iter();
        files.filter_map(|file| self.issuer(file)).collect()
    }

    fn issuer(&self, file: &FileIssuer) -> Option<Issuer> {
        if file.profile == Profile::Portcullis
            && let Some(claim) = file.roles_claim.as_ref().filter(|one| one.value != "roles")
        {
            let message = "`roles_claim` has no effect on tokens of Portcullis";
            let hint =
                "they have their roles in `roles`; leave it out, or write `profile: generic`";
            self.report.error_with_hint(claim.span, message, hint);
        }
        if let Some((span, algorithms)) = &file.algorithms
            && algorithms.is_empty()
            && !self.report.has_errors()
        {
            let message = "`algorithms` names none, so no token could be accepted";
            self.report
                .error_with_hint(*span, message, "leave it out for all three");
        }
        let issuer = file.issuer.as_ref()?;
        let algorithms = file.algorithms.as_ref();
        Some(Issuer {
            name: file.name.value.clone(),
            verifier: AccessVerifier {
                issuer: issuer.value.clone(),
                profile: file.profile,
                algorithms: algorithms.map_or(ALGORITHMS.to_vec(), |(_, named)| named.clone()),
                skew: file.skew,
                roles_claim: file.roles_claim.as_ref()?.value.clone(),
                others: self.others(&file.name.value),
            },
            jwks: self.jwks(file, issuer)?,
            refresh: file.refresh,
            max_stale: file.max_stale,
            revocations: match &file.revocations {
                Some(revocations) => Some(self.follow(file, revocations)?),
                None => None,
            },
        })
    }

    /// Claims that routes pass on, each once.
    fn others(&self, issuer: &str) -> Vec<String> {
        let auths = self
            .file
            .routes
            .iter()
            .filter_map(|route| route.auth.as_ref());
        let own = auths.filter(|auth| auth.issuer.as_ref().is_some_and(|one| one.value == issuer));
        let mut others: Vec<String> = own
            .flat_map(|auth| &auth.claims)
            .map(|claim| claim.value.1.clone())
            .chain(self.claims_of_rate_limits().map(str::to_owned))
            .collect();
        others.sort_unstable();
        others.dedup();
        others
    }

    fn jwks(&self, file: &FileIssuer, issuer: &Located<String>) -> Option<JwksSource> {
        let (address, span) = match &file.jwks {
            Some(jwks) => (jwks.value.clone(), jwks.span),
            None => (self.default_jwks(issuer)?, issuer.span),
        };
        if !address.is_https && !address.is_of_this_machine() && !file.allow_http.value {
            let message = "the keys come over plain HTTP: whoever is between can sign tokens";
            let hint = "write https, with `authorities` for a private authority; or `allow_http: true` where nobody else is on the network";
            self.report.error_with_hint(span, message, hint);
        }
        let feeds = || file.revocations.iter().flat_map(|told| &told.feeds);
        if address.is_https && file.allow_http.value && feeds().all(|feed| feed.value.is_https) {
            let message = "`allow_http` has no effect: the keys come over https";
            self.report
                .warning(file.allow_http.span, message, "leave it out");
        }
        if !address.is_https
            && !feeds().any(|feed| feed.value.is_https)
            && let Some(authorities) = &file.authorities
        {
            let message = "`authorities` has no effect: the keys come over plain HTTP";
            let hint = "leave it out, or write https under `jwks`";
            self.report.error_with_hint(authorities.span, message, hint);
        }
        let tls = match address.is_https {
            true => Some(self.jwks_tls(file, &address, span)?),
            false => None,
        };
        Some(JwksSource {
            host: address.host,
            port: address.port,
            authority: address.authority,
            target: address.target,
            tls,
        })
    }

    fn default_jwks(&self, issuer: &Located<String>) -> Option<HttpAddress> {
        match address::http(&issuer.value) {
            Ok(mut address) => {
                let path = address.target.trim_end_matches('/');
                address.target = format!("{path}/.well-known/jwks.json");
                Some(address)
            }
            Err(_) => {
                let message = "nothing says where the keys of this issuer are";
                let hint = "its name is no address: write one under `jwks`";
                self.report.error_with_hint(issuer.span, message, hint);
                None
            }
        }
    }

    pub(super) fn jwks_tls(
        &self,
        file: &FileIssuer,
        address: &HttpAddress,
        span: portcullis_ops::diagnostic::Span,
    ) -> Option<JwksTls> {
        let ca_path = file.authorities.as_ref();
        let directory = self.surroundings.directory;
        let trust = Trust::read(ca_path, true, span, directory, self.report)?;
        Some(JwksTls {
            // The address was checked when it was read.
            server_name: ServerName::try_from(address.host.clone()).ok()?,
            ca_path: ca_path.map(|path| directory.join(&path.value)),
            client: trust.client(Manner::asking("http/1.1")),
        })
    }

    /// A tunnel whose token nobody revokes and that may outlive it would last for ever.
    fn check_tunnels(&self, file: &FileAuth, issuer: &FileIssuer) {
        if file.tunnels.value == Tunnels::UntilRevoked && issuer.revocations.is_none() {
            let message = format!(
                "nobody tells revocations of `{}`: tunnels would never end",
                issuer.name.value
            );
            let hint = "write `revocations` with the issuer, or leave `tunnels` out";
            self.report
                .error_with_hint(file.tunnels.span, message, hint);
        }
    }

    /// `None` after an error.
    pub(super) fn auth(&self, file: &FileAuth, route: &FileRoute) -> Option<Auth> {
        self.check_effect(file, route);
        self.check_claims(file, route);
        if file.optional.value && !(file.roles.is_empty() && file.scopes.is_empty()) {
            let message = "a token cannot be optional where it must hold roles or scopes";
            let hint = "leave out `optional`, or `roles` and `scopes`";
            self.report
                .error_with_hint(file.optional.span, message, hint);
        }
        let (id, issuer) = self.issuer_named(file.issuer.as_ref()?)?;
        self.check_tunnels(file, issuer);
        let Some(audience) = file.audience.as_ref().or(issuer.audience.as_ref()) else {
            let message = "nothing says whom a token must be for";
            let hint = "write `audience` here or with the issuer; without it tokens for other applications would pass";
            self.report.error_with_hint(file.span, message, hint);
            return None;
        };
        let others = self.others(&issuer.name.value);
        let claims = file.claims.iter().filter_map(|claim| {
            let (name, claim) = &claim.value;
            let position = others.iter().position(|other| other == claim)?;
            Some((name.clone(), position))
        });
        let values = |list: &[Located<String>]| list.iter().map(|one| one.value.clone()).collect();
        Some(Auth {
            issuer: id,
            audience: audience.value.clone(),
            roles: values(&file.roles),
            scopes: values(&file.scopes),
            claims: claims.collect(),
            is_optional: file.optional.value,
            forwards_token: file.forward_token.value,
            tunnels: file.tunnels.value,
            when_lost: self.when_lost(file, issuer),
        })
    }

    fn issuer_named(&self, name: &Located<String>) -> Option<(IssuerId, &FileIssuer)> {
        let issuers = &self.file.issuers;
        let found = issuers
            .iter()
            .position(|issuer| issuer.name.value == name.value);
        let Some(position) = found else {
            let names = || issuers.iter().map(|issuer| issuer.name.value.as_str());
            let known: Vec<&str> = names().collect();
            let hint = match (nearest(&name.value, names()), known.as_slice()) {
                (Some(name), _) => format!("did you mean `{name}`?"),
                (None, []) => "describe it under `issuers`".to_owned(),
                (None, known) => format!("known issuers: {}", known.join(", ")),
            };
            let message = format!("there is no issuer `{}`", name.value);
            self.report.error_with_hint(name.span, message, hint);
            return None;
        };
        Some((IssuerId(position), &issuers[position]))
    }

    /// What only an endpoint would see.
    fn check_effect(&self, file: &FileAuth, route: &FileRoute) {
        let is_forwarded = !matches!(
            route.action,
            Some(FileAction::Redirect(_) | FileAction::Respond(_))
        );
        let claims = file.claims.first().map(|claim| ("claims", claim.span));
        let token = Some(("forward_token", file.forward_token.span));
        let token = token.filter(|_| file.forward_token.is_written);
        let tunnels = Some(("tunnels", file.tunnels.span));
        let tunnels = tunnels.filter(|_| file.tunnels.is_written);
        for (key, span) in [claims, token, tunnels].into_iter().flatten() {
            if !is_forwarded {
                let message = format!("`{key}` has no effect: no endpoint is asked");
                let hint = "leave it out, or send the requests to a `cluster`";
                self.report.error_with_hint(span, message, hint);
            }
        }
    }

    /// Every field once, and none that the route itself changes.
    fn check_claims(&self, file: &FileAuth, route: &FileRoute) {
        let mut known = HashSet::new();
        let changes = &route.request_headers;
        let pairs = changes.set.iter().chain(&changes.add);
        let changed: HashSet<_> = changes
            .remove
            .iter()
            .chain(pairs.map(|(name, _)| name))
            .map(|name| name.as_str().replace('_', "-"))
            .collect();
        for claim in &file.claims {
            let (name, _) = &claim.value;
            if !known.insert(name) {
                let message = format!("`{name}` is there twice");
                self.report
                    .error_with_hint(claim.span, message, "one claim for each field");
            }
            if changed.contains(name.as_str()) {
                let message = format!("`request_headers` of this route changes `{name}`, too");
                let hint = "an endpoint could not tell the two apart: use another name";
                self.report.error_with_hint(claim.span, message, hint);
            }
        }
    }

    pub(super) fn check_use_of_issuers(&self) {
        let auths = self
            .file
            .routes
            .iter()
            .filter_map(|route| route.auth.as_ref());
        let used: HashSet<&str> = auths
            .filter_map(|auth| auth.issuer.as_ref())
            .map(|name| name.value.as_str())
            .collect();
        for issuer in &self.file.issuers {
            let name = &issuer.name;
            if !used.contains(name.value.as_str()) {
                let message = format!("no route asks for tokens of `{}`", name.value);
                let hint = "write `auth: NAME` in a route, or remove it";
                self.report.warning(name.span, message, hint);
            }
        }
    }
}
