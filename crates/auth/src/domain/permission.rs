//! What somebody may do, as names: `resource:action`, granted one by one or as `resource:*`. Never asks who holds what.
//!
//! A question names one permission; a grant may end in `*`, which stands for every action of that one resource. There is
//! no grant of everything: whoever may do all says so resource by resource.

use std::cmp::Ordering;
use std::fmt;

/// Longest resource, and longest action, in bytes.
const PART_BYTES_MAX: usize = 64;
/// Stands for every action in a grant.
const ANY: &str = "*";
/// A role grants no more: it is written, stored and read as a whole.
pub const GRANTS_MAX: usize = 128;

/// One permission: the subject of a question. Each part begins with `a-z` or `0-9` and goes on with `a-z`, `0-9`, `_`,
/// `.` or `-`, up to 64 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission<'a> {
    resource: &'a str,
    action: &'a str,
}

/// A name outside the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a permission is resource:action; each part starts with a-z or 0-9, goes on with a-z, 0-9, '_', '.' or '-', and \
         has at most 64 characters; a grant may have '*' for its action"
)]
pub struct InvalidPermission;

impl<'a> Permission<'a> {
    /// Parses a name.
    ///
    /// # Errors
    /// If it is outside the grammar; `*` is.
    pub fn parse(name: &'a str) -> Result<Self, InvalidPermission> {
        let (resource, action) = name.split_once(':').ok_or(InvalidPermission)?;
        let permission = Self { resource, action };
        let is_valid = is_part(resource) && is_part(action);
        is_valid.then_some(permission).ok_or(InvalidPermission)
    }
}

/// What a role or an API key gives: a permission, or all of a resource.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PermissionGrant {
    name: Box<str>,
    /// Where the action begins.
    action: usize,
}

impl PermissionGrant {
    /// Parses a name.
    ///
    /// # Errors
    /// If it is outside the grammar.
    pub fn parse(name: &str) -> Result<Self, InvalidPermission> {
        let (resource, action) = name.split_once(':').ok_or(InvalidPermission)?;
        let is_valid = is_part(resource) && (action == ANY || is_part(action));
        is_valid
            .then(|| Self {
                name: name.into(),
                action: resource.len() + 1,
            })
            .ok_or(InvalidPermission)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    fn parts(&self) -> (&str, &str) {
        (&self.name[..self.action - 1], &self.name[self.action..])
    }
}

impl fmt::Debug for PermissionGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl fmt::Display for PermissionGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// By resource first, so that all of one stand together with its `*` in front.
impl Ord for PermissionGrant {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for PermissionGrant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Grants together, compiled for questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet(Box<[PermissionGrant]>);

impl PermissionSet {
    /// Parses names, in any order and repeated or not.
    ///
    /// # Errors
    /// If one is outside the grammar.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidPermission> {
        let grants = names.into_iter().map(PermissionGrant::parse);
        grants.collect::<Result<Self, _>>()
    }

    /// Whether they give the permission.
    pub fn allows(&self, permission: &Permission<'_>) -> bool {
        self.has(permission.resource, permission.action) || self.has(permission.resource, ANY)
    }

    /// Whether they give all that the grant gives.
    pub fn covers(&self, grant: &PermissionGrant) -> bool {
        let (resource, action) = grant.parts();
        self.has(resource, action) || self.has(resource, ANY)
    }

    /// The grants, in order.
    pub fn iter(&self) -> impl Iterator<Item = &PermissionGrant> {
        self.0.iter()
    }

    /// How many grants there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, resource: &str, action: &str) -> bool {
        let order = |grant: &PermissionGrant| grant.parts().cmp(&(resource, action));
        self.0.binary_search_by(order).is_ok()
    }
}

impl FromIterator<PermissionGrant> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = PermissionGrant>>(grants: I) -> Self {
        let mut grants: Vec<_> = grants.into_iter().collect();
        grants.sort_unstable();
        grants.dedup();
        Self(grants.into())
    }
}

/// Which state of roles and permissions something was read from. Raised by every change, in its transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionVersion(pub i64);

fn is_part(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    part.len() <= PART_BYTES_MAX
        && part.bytes().next().is_some_and(is_word)
        && part.bytes().all(|b| is_word(b) || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> PermissionSet {
        PermissionSet::parse(names.iter().copied()).unwrap()
    }

    #[test]
    fn names_follow_the_grammar() {
        let long = "a".repeat(64);
        for name in [
            "orders:read",
            "a:b",
            "0:1",
            "a.b-c_d:e.f",
            &format!("{long}:{long}"),
        ] {
            assert!(Permission::parse(name).is_ok(), "{name}");
            assert_eq!(PermissionGrant::parse(name).unwrap().as_str(), name);
        }
        for name in [
            "",
            ":",
            "a",
            "a:",
            ":a",
            "a:b:c",
            "A:b",
            "a:B",
            "-a:b",
            "a:-b",
            "a b:c",
            "a:b ",
            "a:b\n",
            "ä:b",
            "a,b:c",
            "*:*",
            "*:a",
            "a:**",
            "a:b*",
            "a;b:c",
            &format!("{long}a:b"),
            &format!("a:{long}a"),
        ] {
            assert_eq!(Permission::parse(name), Err(InvalidPermission), "{name:?}");
            assert_eq!(
                PermissionGrant::parse(name),
                Err(InvalidPermission),
                "{name:?}"
            );
        }
        assert!(PermissionGrant::parse("orders:*").is_ok());
        assert!(
            Permission::parse("orders:*").is_err(),
            "a question asks for one thing"
        );
    }

    #[test]
    fn a_set_gives_what_was_granted_and_nothing_else() {
        let set = set(&[
            "orders:read",
            "orders:write",
            "users:*",
            "a-b:c",
            "a:c",
            "orders:read",
        ]);
        assert_eq!(set.len(), 5);
        for name in [
            "orders:read",
            "orders:write",
            "users:delete",
            "users:read",
            "a-b:c",
            "a:c",
        ] {
            assert!(set.allows(&Permission::parse(name).unwrap()), "{name}");
        }
        for name in [
            "orders:delete",
            "order:read",
            "orders2:read",
            "user:read",
            "a:b",
            "a-b:d",
        ] {
            assert!(!set.allows(&Permission::parse(name).unwrap()), "{name}");
        }
        let nothing = PermissionSet::default();
        assert!(!nothing.allows(&Permission::parse("a:c").unwrap()));
    }

    #[test]
    fn a_grant_is_covered_by_itself_and_by_all_of_its_resource() {
        let set = set(&["orders:read", "users:*"]);
        let covers = |name| set.covers(&PermissionGrant::parse(name).unwrap());
        assert!(covers("orders:read") && covers("users:*") && covers("users:read"));
        assert!(!covers("orders:*") && !covers("orders:write"));
    }

    #[test]
    fn order_and_lookup_agree_for_names_that_share_beginnings() {
        let names = [
            "a:a", "a:b", "a.a:a", "a-a:a", "a_:a", "aa:a", "a0:a", "b:*",
        ];
        let set = set(&names);
        for name in &names[..7] {
            assert!(set.allows(&Permission::parse(name).unwrap()), "{name}");
        }
        assert_eq!(set.iter().count(), names.len());
    }
}
