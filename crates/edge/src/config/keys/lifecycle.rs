//! Keys of `shutdown`: how the process leaves.

use std::time::Duration;

use portcullis_ops::decode::{Kind, Presence, Scalar, Table};

use Presence::Default;

use super::{HOUR, SECOND, SEVEN_DAYS, key};

pub(super) static SHUTDOWN: Table = Table {
    keys: &[
        key("delay", Kind::Scalar(Scalar::Duration(Duration::ZERO, HOUR)), Default("15s"), "Readiness fails and everything is still served, so that others stop sending; 0s on a laptop."),
        key("drain", Kind::Scalar(Scalar::Duration(Duration::ZERO, HOUR)), Default("30s"), "Then no new connections, and what runs may finish."),
        key("upgrade_drain", Kind::Scalar(Scalar::Duration(Duration::ZERO, SEVEN_DAYS)), Default("1h"), "How long connections may last, tunnels above all, after another binary took over the listeners; at least `drain`."),
        key("upgrade_timeout", Kind::Scalar(Scalar::Duration(SECOND, HOUR)), Default("60s"), "How long another binary may take to be ready; later it is ended, and this process serves on."),
    ],
};
