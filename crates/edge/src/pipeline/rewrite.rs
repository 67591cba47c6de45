//! Another path for the endpoint or for a redirect. Never lets one through that means something
//! else than it says.

use portcullis_traffic::route::{has_dot_segments, plain_path};

use super::head::Head;
use crate::config::{PathChange, PathPart};
use crate::outcome::Cause;

/// Path and query that the endpoint is asked for; `None` if they are the client's.
pub(super) fn target(
    change: &PathChange,
    head: &impl Head,
    bytes_max: usize,
) -> Result<Option<String>, Cause> {
    let Some(mut target) = path(change, &plain_path(head.path()), bytes_max)? else {
        return Ok(None);
    };
    if let Some(query) = head.query() {
        target.push('?');
        target.push_str(query);
    }
    match target.len() > bytes_max {
        true => Err(Cause::TargetTooLong),
        false => Ok(Some(target)),
    }
}

/// The new path for a plain one; `None` if it stays. One longer than `bytes_max` is not even made: an expression may
/// repeat what it matched many times.
pub(super) fn path(
    change: &PathChange,
    path: &str,
    bytes_max: usize,
) -> Result<Option<String>, Cause> {
    let made = match change {
        PathChange::Kept => return Ok(None),
        PathChange::Whole(whole) => return Ok(Some(whole.clone())),
        PathChange::Prefix { taken, put } => {
            // One slash where the two meet, whoever brings it.
            let rest = path.get(*taken..).unwrap_or_default();
            let front = put.strip_suffix('/').unwrap_or(put);
            match rest.strip_prefix('/').unwrap_or(rest) {
                "" if rest.is_empty() => put.clone(),
                below => format!("{front}/{below}"),
            }
        }
        PathChange::Regex { regex, to } => {
            let Some(groups) = regex.groups(path) else {
                return Ok(None);
            };
            let parts = to.iter().map(|part| match part {
                PathPart::Text(text) => text.as_str(),
                PathPart::Group(at) => groups.get(*at).copied().flatten().unwrap_or_default(),
            });
            if parts.clone().map(str::len).sum::<usize>() > bytes_max {
                return Err(Cause::TargetTooLong);
            }
            parts.collect()
        }
    };
    // What the client's part adds must not name another host, nor climb.
    let is_plain = made.starts_with('/') && !made.starts_with("//") && !has_dot_segments(&made);
    match is_plain {
        true => Ok(Some(made)),
        false => Err(Cause::HeadMalformed),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_traffic::route::Regex;

    use super::*;

    fn prefix(taken: &str, put: &str, path: &str) -> Result<Option<String>, Cause> {
        let change = PathChange::Prefix {
            taken: taken.len(),
            put: put.to_owned(),
        };
        super::path(&change, path, 100)
    }

    #[test]
    fn a_prefix_is_replaced_and_the_rest_stays_as_sent() {
        for (taken, put, path, expected) in [
            ("/api", "/v2", "/api", "/v2"),
            ("/api", "/v2", "/api/", "/v2/"),
            ("/api", "/v2", "/api/x%20y", "/v2/x%20y"),
            ("/api", "/", "/api/x", "/x"),
            ("/api", "/", "/api", "/"),
            ("/api/", "/v2/", "/api/x", "/v2/x"),
            ("/api/", "/v2", "/api/x", "/v2/x"),
            ("/", "/v2", "/x/y", "/v2/x/y"),
            ("/", "/v2", "/", "/v2"),
        ] {
            let made = prefix(taken, put, path);
            assert_eq!(made, Ok(Some(expected.to_owned())), "{taken} {put} {path}");
        }
    }

    #[test]
    fn a_path_that_would_name_a_host_or_climb_is_refused() {
        assert_eq!(prefix("/api", "/", "/api//evil"), Err(Cause::HeadMalformed));
        let regex = Regex::new("/x/(.*)").unwrap();
        let change = |to: &[PathPart]| PathChange::Regex {
            regex: regex.clone(),
            to: to.to_vec(),
        };
        let text = |text: &str| PathPart::Text(text.to_owned());
        let below = change(&[text("/"), PathPart::Group(1)]);
        let path = |change: &PathChange, path: &str| super::path(change, path, 100);
        assert_eq!(path(&below, "/x/a/b"), Ok(Some("/a/b".to_owned())));
        assert_eq!(path(&below, "/y"), Ok(None), "no match, no change");
        assert_eq!(path(&below, "/x//evil"), Err(Cause::HeadMalformed));
        let climbing = change(&[text("/a/."), PathPart::Group(1)]);
        assert_eq!(path(&climbing, "/x/./b"), Err(Cause::HeadMalformed));
        let repeated = change(&[text("/"), PathPart::Group(1), PathPart::Group(1)]);
        let of = |length: usize| path(&repeated, &format!("/x/{}", "a".repeat(length)));
        assert_eq!(of(49).map(|made| made.map(|made| made.len())), Ok(Some(99)));
        assert_eq!(of(50), Err(Cause::TargetTooLong));
    }
}
