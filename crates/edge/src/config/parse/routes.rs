//! Routes: each reachable, each with a cluster and a name of its own. Never matches a request.

use std::collections::{HashMap, HashSet};

use super::super::file::FileRoute;
use super::super::{Conditions, Config, HostPattern, NamePattern, Pattern, Route};
use super::Parser;
use super::listeners::covers;

impl Parser<'_> {
    pub(super) fn routes(&self) -> Vec<Route> {
        self.check_presence_of_routes();
        let mut names = HashSet::new();
        let mut lines = HashMap::new();
        let mut routes = Vec::new();
        for file in &self.file.routes {
            let name = self.route_name(file, &mut names);
            let cluster = file
                .cluster
                .as_ref()
                .and_then(|cluster| self.cluster(cluster));
            let Some((host, path)) = &file.pattern else {
                continue;
            };
            let line = file.span.line;
            if let Some(first) = lines.insert((host.clone(), path.clone()), line) {
                let message = "an earlier route takes every request of this one";
                let hint = format!("the route at line {first} has the same host and path");
                self.report.error_with_hint(file.span, message, hint);
                continue;
            }
            let Some(cluster) = cluster else { continue };
            routes.push(Route {
                name,
                pattern: Pattern {
                    host: host.clone(),
                    path: path.clone(),
                    conditions: Conditions::default(),
                },
                cluster,
                idempotency_key: file.idempotency_key,
                access_log: file.access_log,
            });
        }
        routes
    }

    fn route_name(&self, file: &FileRoute, names: &mut HashSet<String>) -> String {
        let name = file.name.as_ref().map_or(&file.label, |name| &name.value);
        if !names.insert(name.clone()) {
            // Two default names are only equal if the rules are, which is told elsewhere.
            if let Some(written) = &file.name {
                let message = format!("two routes are called `{name}`");
                self.report
                    .error_with_hint(written.span, message, "give one another name");
            }
        }
        name.clone()
    }

    fn check_presence_of_routes(&self) {
        // Whatever terminates TLS or has none speaks HTTP.
        let mut speaks_http = self
            .file
            .listeners
            .iter()
            .filter(|listener| listener.tls.is_some() || listener.passthrough.is_empty());
        match (speaks_http.next(), self.file.routes.first()) {
            (Some(listener), None) if !self.report.has_errors() => {
                let message = "there are no routes: every request would be answered 404";
                let hint = "add `routes: [{ cluster: NAME }]`";
                self.report.error_with_hint(listener.span, message, hint);
            }
            (None, Some(route)) if !self.file.listeners.is_empty() => {
                let message = "no listener speaks HTTP, so no route is ever used";
                self.report
                    .warning(route.span, message, "add a listener, or remove the routes");
            }
            _ => {}
        }
    }

    /// Only where TLS is the only way in: plain HTTP needs no name.
    pub(super) fn check_names_of_certificates(&self, config: &Config) {
        let mut names = Vec::new();
        for listener in &config.listeners {
            match &listener.tls {
                Some(tls) => names.extend(tls.certificates.iter().flat_map(|one| &one.names)),
                None if listener.passthrough.is_empty() => return,
                None => {}
            }
        }
        for file in &self.file.routes {
            let Some((HostPattern::Exact(host), _)) = &file.pattern else {
                continue;
            };
            let wanted = NamePattern::Exact(host.clone());
            if !names.is_empty() && !names.iter().any(|name| covers(name, &wanted)) {
                let message = format!("no certificate is valid for `{host}`");
                let hint = "clients will be shown another one, and refuse it";
                self.report.warning(file.span, message, hint);
            }
        }
    }
}
