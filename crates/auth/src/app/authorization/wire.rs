//! A subject as text in the shared state. Never believed beyond what parses: anything else counts as nothing.

use std::collections::BTreeSet;

use crate::domain::{PermissionSet, PermissionVersion, Role, Subject, SubjectId, Tier};

/// First: another release that writes otherwise is not misread.
const FORM: &str = "1";
const ACTIVE: &str = "active";
const SHUT: &str = "shut";

pub(super) fn write(subject: &Subject) -> String {
    let status = if subject.is_active { ACTIVE } else { SHUT };
    let (version, tier) = (subject.version.0, subject.tier.as_str());
    let mut text = format!("{FORM} {} {version} {status} {tier} ", subject.id);
    let roles = subject.roles.iter().map(Role::as_str);
    join(&mut text, roles);
    text.push(' ');
    join(
        &mut text,
        subject.permissions.iter().map(|grant| grant.as_str()),
    );
    text
}

fn join<'a>(text: &mut String, names: impl Iterator<Item = &'a str>) {
    for (at, name) in names.enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(name);
    }
}

/// `None` for what is not this subject's.
pub(super) fn read(id: &SubjectId, text: &str) -> Option<Subject> {
    let parts: Vec<&str> = text.split(' ').collect();
    let [FORM, name, version, status, tier, roles, permissions] = parts.as_slice() else {
        return None;
    };
    let is_active = match *status {
        ACTIVE => true,
        SHUT => false,
        _ => return None,
    };
    let roles = roles
        .split_terminator(',')
        .map(|role| Role::parse(role).ok());
    let subject = Subject {
        id: SubjectId::parse(name)?,
        is_active,
        tier: Tier::read(tier),
        roles: roles.collect::<Option<BTreeSet<_>>>()?,
        permissions: PermissionSet::parse(permissions.split_terminator(',')).ok()?,
        version: PermissionVersion(version.parse().ok()?),
    };
    (subject.id == *id).then_some(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(roles: &[&str], permissions: &[&str]) -> Subject {
        Subject {
            id: SubjectId::parse("client:worker").unwrap(),
            is_active: true,
            tier: Tier::Pro,
            roles: roles
                .iter()
                .map(|role| Role::parse(role).unwrap())
                .collect(),
            permissions: PermissionSet::parse(permissions.iter().copied()).unwrap(),
            version: PermissionVersion(7),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for subject in [
            subject(&[], &[]),
            subject(&["a", "b:c"], &[]),
            subject(&["a"], &["orders:read", "users:*"]),
            Subject {
                is_active: false,
                ..subject(&[], &["a:b"])
            },
        ] {
            assert_eq!(read(&subject.id, &write(&subject)), Some(subject));
        }
    }

    #[test]
    fn anything_else_is_nothing() {
        let subject = subject(&["a"], &["orders:read"]);
        let text = write(&subject);
        let other = SubjectId::parse("client:other").unwrap();
        assert_eq!(read(&other, &text), None, "another's");
        for text in [
            "",
            "1",
            &text.replacen('1', "2", 1),
            &text.replace("active", "maybe"),
            &text.replace(" 7 ", " x "),
            &text.replace("orders:read", "orders"),
            &text.replace("orders:read", "orders:read more"),
            &text[..text.len() - 16],
        ] {
            assert_eq!(read(&subject.id, text), None, "{text:?}");
        }
    }
}
