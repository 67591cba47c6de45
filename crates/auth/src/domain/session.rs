//! A session as its owner sees it in a list. Never anything that could continue it.

use std::fmt;

use super::{Network, SessionId, UnixMillis};

/// One session that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id, the `sid` of its tokens.
    pub id: SessionId,
    /// When its login was.
    pub began_at: UnixMillis,
    /// When tokens were last issued for it: at its login, or by a refresh.
    pub used_at: UnixMillis,
    /// Where its login came from; unknown for sessions that an earlier release began.
    pub began_from: Option<Network>,
}

impl SessionRecord {
    /// Where a list goes on behind this session.
    pub fn cursor(&self) -> SessionCursor {
        SessionCursor {
            began_at: self.began_at,
            id: self.id,
        }
    }
}

/// A place in a list of sessions, newest first. Says nothing its holder does not know already, so that nobody signs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionCursor {
    /// Of the last session seen.
    pub began_at: UnixMillis,
    /// Its id.
    pub id: SessionId,
}

impl SessionCursor {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        let (began_at, id) = text.split_once('.')?;
        let is_number = !began_at.is_empty() && began_at.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self {
            began_at: UnixMillis(began_at.parse().ok().filter(|_| is_number)?),
            id: SessionId::parse(id)?,
        })
    }
}

impl fmt::Display for SessionCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.began_at, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_spelling() {
        let cursor = SessionCursor {
            began_at: UnixMillis(1_800_000_000_000),
            id: SessionId::from_random([7; 16]),
        };
        assert_eq!(SessionCursor::parse(&cursor.to_string()), Some(cursor));
        let id = cursor.id;
        for bad in [
            "",
            ".",
            "1",
            &format!("-1.{id}"),
            &format!("+1.{id}"),
            &format!(".{id}"),
            &format!("99999999999999999999.{id}"),
            "1.x",
            &format!("1.{id}x"),
            &format!("1.{id}' OR 1=1"),
        ] {
            assert_eq!(SessionCursor::parse(bad), None, "{bad:?}");
        }
    }
}
