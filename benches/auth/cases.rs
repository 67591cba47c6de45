//! What is measured, and what it must reach, as data. Never how.

/// What clients ask for over and over again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// A login with the right password.
    Login,
    /// Whether an access token holds: its signature, and one look for revocations.
    Verify,
    /// A refresh token for the next one, each client along a chain of its own.
    Refresh,
    /// The published keys.
    Keys,
    /// Whether whoever asks has one permission.
    Permission,
    /// A hundred at once.
    Permissions,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One instance on PostgreSQL and Redis.
    One,
    /// Three on the same, clients spread over them evenly.
    Three,
    /// One with as many clients as it would have among three.
    Third,
    /// One on the same that remembers no signature: every token is new to it.
    Forgetful,
    /// One on the same that remembers no permission set: each is read from the database.
    Unremembering,
    /// One with its files: SQLite in the place of both.
    Embedded,
}

/// One kind of load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// How `--only` calls it.
    pub(crate) key: &'static str,
    /// How results call it.
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    pub(crate) place: Place,
}

const fn case(key: &'static str, title: &'static str, work: Work, place: Place) -> Case {
    Case {
        key,
        title,
        work,
        place,
    }
}

/// In the order of the tables. What is compared with each other stands side by side.
#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    case("login", "login", Work::Login, Place::One),
    case("login-three", "login, three instances", Work::Login, Place::Three),
    case("verify", "verify", Work::Verify, Place::One),
    case("verify-new", "verify, tokens not seen before", Work::Verify, Place::Forgetful),
    case("verify-third", "verify, a third of the clients", Work::Verify, Place::Third),
    case("verify-three", "verify, three instances", Work::Verify, Place::Three),
    case("permission", "permission check", Work::Permission, Place::One),
    case("permission-batch", "permission check, 100 at once", Work::Permissions, Place::One),
    case("permission-uncached", "permission check, sets not remembered", Work::Permission, Place::Unremembering),
    case("refresh", "refresh", Work::Refresh, Place::One),
    case("refresh-three", "refresh, three instances", Work::Refresh, Place::Three),
    case("refresh-embedded", "refresh, embedded", Work::Refresh, Place::Embedded),
    case("keys", "keys", Work::Keys, Place::One),
    case("keys-third", "keys, a third of the clients", Work::Keys, Place::Third),
    case("keys-three", "keys, three instances", Work::Keys, Place::Three),
];

/// What the cases consist of at the least, done in this process.
pub(crate) const HASH: &str = "bare argon2id";
/// As above.
pub(crate) const VERIFICATION: &str = "bare RS256 verification";
/// As above.
pub(crate) const SIGNATURE: &str = "bare RS256 signature";
/// What nobody asked for.
pub(crate) const IDLE: (&str, &str) = ("idle", "an idle instance, a second");

/// What is compared with a number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    /// Processor time of the instances per request, in microseconds.
    Cpu(&'static str),
    /// Requests a second.
    Rate(&'static str),
    /// Of processor time.
    CpuRatio(&'static str, &'static str),
    /// Of rates.
    RateRatio(&'static str, &'static str),
}

/// What must be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) title: &'static str,
    pub(crate) figure: Figure,
    pub(crate) bound: Bound,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const fn target(title: &'static str, figure: Figure, bound: Bound) -> Target {
    Target {
        title,
        figure,
        bound,
    }
}

#[rustfmt::skip]
pub(crate) const TARGETS: &[Target] = &[
    target("CPU of a login / of a bare hash", Figure::CpuRatio("login", HASH), Bound::AtMost(1.15)),
    target("logins / bare hashes a second", Figure::RateRatio("login", HASH), Bound::AtLeast(0.85)),
    target("CPU of a verification, us", Figure::Cpu("verify"), Bound::AtMost(50.0)),
    target("verifications a second", Figure::Rate("verify"), Bound::AtLeast(15_000.0)),
    target("CPU of a permission check, us", Figure::Cpu("permission"), Bound::AtMost(50.0)),
    target("permission checks a second", Figure::Rate("permission"), Bound::AtLeast(20_000.0)),
    target("CPU of 100 permission checks at once, us", Figure::Cpu("permission-batch"), Bound::AtMost(1_000.0)),
    target("refreshes a second", Figure::Rate("refresh"), Bound::AtLeast(1_500.0)),
    target("key sets a second", Figure::Rate("keys"), Bound::AtLeast(60_000.0)),
    target("CPU of a login, three instances / one", Figure::CpuRatio("login-three", "login"), Bound::AtMost(1.07)),
    target("CPU of a verification, three instances / one", Figure::CpuRatio("verify-three", "verify"), Bound::AtMost(1.07)),
    target("CPU of a verification, three instances / one of them alone", Figure::CpuRatio("verify-three", "verify-third"), Bound::AtMost(1.07)),
    target("CPU of a refresh, three instances / one", Figure::CpuRatio("refresh-three", "refresh"), Bound::AtMost(1.07)),
    target("CPU of a key set, three instances / one", Figure::CpuRatio("keys-three", "keys"), Bound::AtMost(1.07)),
    target("CPU of a key set, three instances / one of them alone", Figure::CpuRatio("keys-three", "keys-third"), Bound::AtMost(1.07)),
];
