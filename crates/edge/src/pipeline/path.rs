//! Phase 2: the one path that a request is routed by and its endpoint is sent. Never routes.

use http::{Method, Version};
use portcullis_traffic::route::{Oddity, PathRules, normalize, plain_path, readings};

use super::head::Head;
use crate::outcome::Cause;
use crate::state::RouteId;

/// A head whose path is the one to route by.
#[derive(Debug)]
pub(super) struct Normal<'h, H> {
    pub(super) head: &'h H,
    pub(super) path: &'h str,
}

impl<H: Head> Head for Normal<'_, H> {
    type Fields = H::Fields;

    fn method(&self) -> &Method {
        self.head.method()
    }

    fn version(&self) -> Version {
        self.head.version()
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> Option<&str> {
        self.head.query()
    }

    fn authority(&self) -> Option<&str> {
        self.head.authority()
    }

    fn fields(&self) -> &H::Fields {
        self.head.fields()
    }
}

/// The path to go by, where it is not the one that was sent.
pub(super) fn changed(sent: &str, rules: &PathRules) -> Result<Option<String>, Cause> {
    let path = normalize(sent, rules).ok_or(Cause::HeadMalformed)?;
    Ok((path != sent).then(|| path.into_owned()))
}

/// Refuses a path that would take another route if its endpoint read it in another way: no route may be passed by.
pub(super) fn check_readings(
    path: &str,
    rules: &PathRules,
    found: Result<RouteId, Cause>,
    find: impl Fn(&str) -> Result<RouteId, Cause>,
) -> Result<RouteId, Cause> {
    if rules.ambiguous == Oddity::Keep {
        return found;
    }
    let route = found?;
    let is_another = |reading: String| find(&plain_path(&reading)) != Ok(route);
    match readings(path).any(is_another) {
        true => Err(Cause::HeadMalformed),
        false => Ok(route),
    }
}
