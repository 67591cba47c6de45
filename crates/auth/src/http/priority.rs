//! Who is turned away first when too much is under way at once: what nobody waits for before what everybody needs.
//! Never counts who asks, and never turns health away.

use std::num::NonZeroUsize;

/// How much of the room for requests an endpoint may find taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// All of it and more: health and keys cost nothing and decide about everything else.
    Always,
    /// So many percent.
    Percent(usize),
}

/// What nobody's life hangs on: administration, and what is not there.
const LEAST: Share = Share::Percent(50);

/// Every path there is; `None` for others. Verification carries every other service.
fn share(endpoint: &str) -> Option<Share> {
    let share = match endpoint {
        "/api/v1/auth/verify" | "/api/v1/permissions/check" | "/api/v1/permissions/check/batch" => {
            Share::Percent(100)
        }
        "/api/v1/auth/refresh"
        | "/api/v1/auth/logout"
        | "/api/v1/auth/logout-all"
        | "/api/v1/auth/sessions/{id}" => Share::Percent(90),
        "/api/v1/auth/sessions" | "/api/v1/auth/password/change" => Share::Percent(75),
        "/api/v1/auth/login" | "/api/v1/auth/login/second-factor" => Share::Percent(75),
        "/api/v1/auth/register"
        | "/api/v1/auth/reauthenticate"
        | "/api/v1/auth/password/forgot"
        | "/api/v1/auth/password/reset"
        | "/api/v1/auth/email/verify"
        | "/api/v1/auth/email/resend"
        | "/api/v1/auth/mfa"
        | "/api/v1/auth/mfa/totp"
        | "/api/v1/auth/mfa/totp/confirm"
        | "/api/v1/auth/mfa/recovery-codes" => Share::Percent(60),
        "/api/v1/load-balancer/instances"
        | "/api/v1/load-balancer/metrics"
        | "/api/v1/load-balancer/config"
        | "/api/v1/load-balancer/health-check"
        | "/api/v1/api-keys"
        | "/api/v1/api-keys/{id}"
        | "/api/v1/openapi.json"
        | "/api/v1/auth/setup" => LEAST,
        path if path.starts_with("/api/v1/admin/") => LEAST,
        portcullis_token::feed::PATH
        | "/health"
        | "/health/detailed"
        | "/health/ready"
        | "/health/live"
        | "/ready"
        | "/alive"
        | "/metrics"
        | "/api/v1/load-balancer/health"
        | "/.well-known/jwks.json"
        | "/.well-known/openid-configuration" => Share::Always,
        _ => return None,
    };
    Some(share)
}

/// Whether a request for `endpoint` may go on when, with it, `under_way` requests are. With room for one only, each
/// endpoint still has that one.
pub(super) fn admits(endpoint: &str, under_way: usize, room: NonZeroUsize) -> bool {
    match share(endpoint).unwrap_or(LEAST) {
        Share::Always => true,
        Share::Percent(percent) => under_way <= (room.get() * percent / 100).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_j02_every_path_there_is_has_its_importance() {
        let public = crate::http::routes();
        let paths = public.iter().map(|(path, _)| *path);
        for path in paths.chain(crate::http::internal::PATHS) {
            assert!(share(path).is_some(), "{path} has no share of the room");
        }
    }

    #[test]
    fn sec_j02_the_least_important_are_turned_away_first() {
        let order = [
            "/health",
            "/api/v1/auth/verify",
            "/api/v1/auth/refresh",
            "/api/v1/auth/login",
            "/api/v1/auth/register",
            "/api/v1/load-balancer/instances",
        ];
        let room = NonZeroUsize::new(20).unwrap();
        let mut served = Vec::new();
        for under_way in 1..=100 {
            let admitted = order
                .iter()
                .filter(|endpoint| admits(endpoint, under_way, room));
            let admitted: Vec<_> = admitted.copied().collect();
            assert_eq!(admitted, order[..admitted.len()], "at {under_way}");
            served.push(admitted.len());
        }
        assert_eq!((served[0], served[99]), (order.len(), 1));
        served.dedup();
        assert_eq!(served, [6, 5, 4, 3, 2, 1], "one after the other");
        let least = NonZeroUsize::MIN;
        assert!(order.iter().all(|endpoint| admits(endpoint, 1, least)));
    }
}
