//! Routes: each reachable, each with something to do and a name of its own. Never matches a request.

use std::collections::{HashMap, HashSet};

use portcullis_ops::decode::Located;
use portcullis_traffic::route::hidden;

use super::super::file::{FileAction, FileRoute, FileSplit};
use super::super::route::{Action, Location, Redirect, Split};
use super::super::{Conditions, Config, HostPattern, NamePattern, PathChange, Pattern, Route};
use super::Parser;
use super::listeners::covers;

impl Parser<'_> {
    pub(super) fn routes(&self) -> Vec<Route> {
        self.check_presence_of_routes();
        self.check_reach();
        let mut names = HashMap::new();
        let mut routes = Vec::new();
        for file in &self.file.routes {
            let name = self.route_name(file, &mut names);
            let action = file.action.as_ref().and_then(|action| self.action(action));
            let (Some(pattern), Some(action)) = (&file.pattern, action) else {
                continue;
            };
            routes.push(Route {
                name,
                pattern: pattern.clone(),
                action,
                auth: file.auth.as_ref().and_then(|auth| self.auth(auth, file)),
                clients: file.clients.as_ref().map(|clients| self.clients(clients)),
                cors: file.cors.clone(),
                security_headers: file.security_headers.clone(),
                rate_limits: self.rate_limit_ids(&file.rate_limits),
                criticality: file.criticality,
                rewrite: file.rewrite.clone(),
                request_headers: file.request_headers.clone(),
                response_headers: file.response_headers.clone(),
                idempotency_key: file.idempotency_key,
                pages: self.pages(&file.pages),
                maintenance: file
                    .maintenance
                    .as_ref()
                    .map(|maintenance| self.maintenance(maintenance)),
                access_log: file.access_log,
            });
        }
        routes
    }

    fn action(&self, file: &FileAction) -> Option<Action> {
        match file {
            FileAction::Cluster(name) => self.cluster(name).map(Action::Cluster),
            FileAction::Split(split) => self.split(split).map(Action::Split),
            FileAction::Redirect(redirect) => Some(Action::Redirect(redirect.value.clone())),
            FileAction::Respond(respond) => Some(Action::Respond(respond.clone())),
        }
    }

    fn split(&self, file: &FileSplit) -> Option<Split> {
        let mut known = HashSet::new();
        let mut members = Vec::new();
        for (name, weight) in &file.members {
            if !known.insert(&name.value) {
                let message = format!("`{}` is in this split already", name.value);
                let hint = "write it once, with the sum of the weights";
                self.report.error_with_hint(name.span, message, hint);
            }
            members.extend(self.cluster(name).map(|cluster| (cluster, *weight)));
        }
        if let [_] = file.members.as_slice() {
            let hint = "write `cluster: NAME`, or add another";
            self.report
                .warning(file.span, "`split` has one member only", hint);
        }
        (members.len() == file.members.len()).then(|| Split {
            members,
            by: file.by.clone(),
        })
    }

    /// Routes that another one takes every request of.
    fn check_reach(&self) {
        let sound = self.file.routes.iter();
        let sound: Vec<(&FileRoute, &Pattern)> = sound
            .filter_map(|route| Some((route, route.pattern.as_ref()?)))
            .collect();
        let patterns: Vec<&Pattern> = sound.iter().map(|(_, pattern)| *pattern).collect();
        for hidden in hidden(&patterns) {
            let (route, by) = (sound[hidden.rule], sound[hidden.by]);
            let line = by.0.span.line;
            let (message, hint) = match route.1 == by.1 {
                true => (
                    "an earlier route takes every request of this one",
                    format!("the route at line {line} has the same host, path and conditions"),
                ),
                false => (
                    "another route takes every request of this one",
                    format!("the route at line {line} goes before it"),
                ),
            };
            self.report.error_with_hint(route.0.span, message, hint);
        }
    }

    fn route_name(&self, file: &FileRoute, names: &mut HashMap<String, Option<Pattern>>) -> String {
        let name = file.name.as_ref().map_or(&file.label, |name| &name.value);
        if let Some(known) = names.insert(name.clone(), file.pattern.clone()) {
            let message = format!("two routes are called `{name}`");
            // Two equal routes are told elsewhere.
            if let Some(written) = &file.name {
                self.report
                    .error_with_hint(written.span, message, "give one another name");
            } else if known.is_some() && file.pattern.is_some() && known != file.pattern {
                let hint = "routes that differ in their conditions need a `name`";
                self.report.error_with_hint(file.span, message, hint);
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

    /// A redirect to another scheme or port has to name a host, and must not take a stranger's
    /// word for it: only hosts that the configuration names are repeated.
    pub(super) fn check_redirects(&self, config: &Config) {
        for file in &self.file.routes {
            let Some(FileAction::Redirect(Located { value, span, .. })) = &file.action else {
                continue;
            };
            let is_any = matches!(&file.pattern, Some(pattern) if pattern.host == HostPattern::Any);
            if is_any && repeats_host(value) && config.named_hosts().is_empty() {
                let message = "nothing says which hosts this redirect may repeat";
                let hint = "add `host` to the redirect or to a route: what clients send is not to be trusted";
                self.report.error_with_hint(*span, message, hint);
            }
            if let Some(pattern) = &file.pattern
                && let Some(path) = path_of(value)
                && pattern.path.matches(path)
                && pattern.conditions == Conditions::default()
                && !self.is_taken_by_another(pattern, path)
            {
                let message = format!("this route takes {path}, too: clients would go in circles");
                let hint = "redirect to a path that another route takes";
                self.report.warning(*span, message, hint);
            }
        }
    }

    /// The same for listeners that send everybody to https.
    pub(super) fn check_ways_to_https(&self, config: &Config) {
        for file in &self.file.listeners {
            let Some(port) = &file.redirect_to_https else {
                continue;
            };
            if file.tls.is_some() {
                let message = "`redirect_to_https` has no effect: clients speak TLS here";
                let hint = "write it where plain HTTP comes in";
                self.report.warning(port.span, message, hint);
            } else if config.named_hosts().is_empty() {
                let message = "nothing says which hosts may be sent to https";
                let hint = "name a `host` in a route: what clients send is not to be trusted";
                self.report.error_with_hint(port.span, message, hint);
            }
        }
    }

    /// Whether requests for a path may go to a more specific route.
    fn is_taken_by_another(&self, pattern: &Pattern, path: &str) -> bool {
        let mut others = self.file.routes.iter();
        others.any(|other| match &other.pattern {
            Some(other) => other > pattern && other.path.matches(path),
            None => true,
        })
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
            let Some(HostPattern::Exact(host)) = file.pattern.as_ref().map(|pattern| &pattern.host)
            else {
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

/// The path that a redirect within one host leads to, or one of them.
fn path_of(redirect: &Redirect) -> Option<&str> {
    match &redirect.location {
        Location::Fixed(to) if to.starts_with('/') => to.split(['?', '#']).next(),
        Location::Changed {
            scheme: None,
            host: None,
            port: None,
            path: PathChange::Whole(path) | PathChange::Prefix { put: path, .. },
        } => Some(path),
        _ => None,
    }
}

fn repeats_host(redirect: &Redirect) -> bool {
    matches!(
        &redirect.location,
        Location::Changed { scheme, host: None, port, .. } if scheme.is_some() || port.is_some()
    )
}
