//! What every part says about an endpoint: its name and what it may be given. Never decides either.

/// Names an endpoint for as long as the process knows it; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u32);

/// What an endpoint may be given now. Made by `containment`, obeyed by `select`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Eligible. `share_percent` scales its weight (100; 25 while degraded).
    In {
        /// Percent of the endpoint's weight that counts.
        share_percent: u8,
    },
    /// Put aside by the operator or by its own announcement: serves clients bound to it, takes no
    /// new ones.
    Draining,
    /// Not eligible.
    Out {
        /// It accepts connections, so it may be used when nobody is eligible (panic); a refused
        /// one never.
        is_last_resort: bool,
    },
}
