//! `shutdown` as written.

use std::time::Duration;

use portcullis_ops::decode::{Fields, Located};

/// How the process leaves.
#[derive(Debug)]
pub(in crate::config) struct FileShutdown {
    pub(in crate::config) delay: Located<Duration>,
    pub(in crate::config) drain: Located<Duration>,
    pub(in crate::config) upgrade_drain: Located<Duration>,
    pub(in crate::config) upgrade_timeout: Located<Duration>,
}

pub(super) fn shutdown(fields: &Fields<'_>) -> FileShutdown {
    FileShutdown {
        delay: fields.duration("delay"),
        drain: fields.duration("drain"),
        upgrade_drain: fields.duration("upgrade_drain"),
        upgrade_timeout: fields.duration("upgrade_timeout"),
    }
}
