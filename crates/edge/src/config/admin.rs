//! Who operates the edge, and where what they do is written. Never holds a token that may be guessed.

use std::net::SocketAddr;
use std::path::PathBuf;

use portcullis_ops::Secret;

/// The operator's listener: health, metrics, status and changes.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it answers (default 127.0.0.1:2019).
    pub address: SocketAddr,
    /// Who may do what. None (default): everybody may read, and nothing can be changed.
    pub tokens: Vec<AdminToken>,
    /// Names beside addresses and `localhost` under which browsers may ask for it.
    pub hosts: Vec<String>,
    /// Whether metrics are told without a token (default yes).
    pub has_open_metrics: bool,
}

/// Somebody who may operate the edge.
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// What the audit calls them.
    pub name: String,
    /// What they may do.
    pub role: AdminRole,
    /// What they show.
    pub token: Secret<String>,
}

/// What somebody may do at the operator's listener. Who may do more is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminRole {
    /// See everything.
    Read,
    /// Change everything, too.
    Operate,
}

impl AdminRole {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

/// Where changes and who made them are written, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditLog {
    /// To the log of the process (default).
    Log,
    /// Appended to a file.
    File(PathBuf),
}
