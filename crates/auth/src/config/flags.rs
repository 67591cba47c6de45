//! Features that can be switched off, or be on for some of the instances only. Never decides for a request: an
//! instance has a feature from its start to its end.

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_ops::decode::parse_percent;

use super::values::Values;
use super::{Instance, Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "FF_ENABLE_CIRCUIT_BREAKER",
        "true",
        "watch the database and the shared state with circuit breakers: true, false or 10% of the instances, as all that begin with FF_",
    ),
    var(
        "FF_ENABLE_ENHANCED_POOLING",
        "true",
        "open connections beyond DATABASE_POOL_SIZE under load; without it there are never more",
    ),
    var(
        "FF_ENABLE_PRIORITIZED_RATE_LIMIT",
        "true",
        "when too much is under way at once, turn the least important requests away first",
    ),
    var(
        "FF_ENABLE_AUDIT_TRAIL",
        "true",
        "write logins, changes of accounts and what else must be provable later into the audit log",
    ),
];

/// Which features an instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// Circuit breakers.
    pub circuit_breaker: bool,
    /// Connections to the database beyond those kept open.
    pub enhanced_pooling: bool,
    /// The least important requests go first.
    pub prioritized_rate_limit: bool,
    /// The audit log is written.
    pub audit_trail: bool,
}

/// Percentages in hundredths.
const PLACES: u64 = 10_000;

impl Flags {
    pub(super) fn read(v: &mut Values<'_>, instance: &Instance) -> Self {
        let mut flag = |name| v.flag(name, &instance.id);
        let flags = Self {
            circuit_breaker: flag("FF_ENABLE_CIRCUIT_BREAKER"),
            enhanced_pooling: flag("FF_ENABLE_ENHANCED_POOLING"),
            prioritized_rate_limit: flag("FF_ENABLE_PRIORITIZED_RATE_LIMIT"),
            audit_trail: flag("FF_ENABLE_AUDIT_TRAIL"),
        };
        if !flags.audit_trail {
            let warning = "FF_ENABLE_AUDIT_TRAIL is off for this instance: nobody can prove later what was done through it";
            v.warnings.push(warning.to_owned());
        }
        flags
    }

    /// By the names of their variables.
    pub fn named(self) -> [(&'static str, bool); 4] {
        [
            ("FF_ENABLE_CIRCUIT_BREAKER", self.circuit_breaker),
            ("FF_ENABLE_ENHANCED_POOLING", self.enhanced_pooling),
            (
                "FF_ENABLE_PRIORITIZED_RATE_LIMIT",
                self.prioritized_rate_limit,
            ),
            ("FF_ENABLE_AUDIT_TRAIL", self.audit_trail),
        ]
    }
}

impl Values<'_> {
    fn flag(&mut self, name: &'static str, instance: &str) -> bool {
        let Some(text) = self.get(name) else {
            return true;
        };
        let text = text.trim();
        let percent = text.strip_suffix('%').and_then(parse_percent);
        match (text, percent) {
            ("true" | "on" | "1", _) => true,
            ("false" | "off" | "0", _) => false,
            (_, Some(hundredths)) => place(name, instance) < u64::from(hundredths),
            _ => {
                self.error(
                    name,
                    format!("{text:?} is neither true, false nor a share of the instances"),
                    "write true, false, or a percentage such as 10%",
                );
                true
            }
        }
    }
}

/// Where an instance stands in the line for a feature. Its name decides, so that a higher percentage only adds
/// instances and a restart changes nothing.
fn place(name: &str, instance: &str) -> u64 {
    let digest = digest(&SHA256, format!("{name}\n{instance}").as_bytes());
    let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSTANCES: u64 = 10_000;

    fn having(percent: &str) -> Vec<bool> {
        let vars = |_: &str| Some(percent.to_owned());
        let mut values = Values::new(&vars);
        let instances = (0..INSTANCES).map(|number| format!("auth-{number}"));
        let having = instances.map(|id| values.flag("FF_ENABLE_ENHANCED_POOLING", &id));
        having.collect()
    }

    #[test]
    fn a_share_of_the_instances_has_a_feature_and_keeps_it_while_it_grows() {
        let mut before = having("0%");
        assert!(before.iter().all(|has| !has));
        for (text, share) in [("0.5%", 0.005), ("10%", 0.1), ("50%", 0.5), ("100%", 1.0)] {
            let now = having(text);
            let count = now.iter().filter(|has| **has).count() as f64;
            let all = INSTANCES as f64;
            let sigma = (all * share * (1.0 - share)).sqrt();
            assert!(
                (count - all * share).abs() <= 3.0 * sigma,
                "{text}: {count}"
            );
            assert!(
                before.iter().zip(&now).all(|(was, is)| !was || *is),
                "{text}"
            );
            before = now;
        }
    }
}
