//! Arguments and outcomes of the store: one variant per decision a caller can take. Never database types.

use super::sealed;
use crate::domain::{
    Account, AccountId, Family, RefreshToken, RequestId, Revocation, SessionId, TokenHash,
    UnixMillis,
};

/// How many rows one call may touch: no caller can ask for all of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit(u16);

impl PageLimit {
    /// The largest page.
    pub const MAX: Self = Self(500);

    /// A limit between 1 and [`PageLimit::MAX`]; values outside are moved to the nearer end.
    pub fn new(rows: u16) -> Self {
        Self(rows.clamp(1, Self::MAX.0))
    }

    /// The number of rows.
    pub fn rows(self) -> u16 {
        self.0
    }
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountCreation {
    /// Stored.
    Created,
    /// The address belongs to another account.
    EmailTaken,
}

/// What became of a new family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyCreation {
    /// Stored.
    Created,
    /// The account has been disabled or deleted since it was read, or all its sessions were ended since the login began.
    AccountNotActive,
}

/// One use of a refresh token.
#[derive(Clone, Debug)]
pub struct Rotation<'a> {
    /// The token the client sent.
    pub presented: TokenHash,
    /// Who sent it.
    pub client_id: &'a str,
    /// The token to issue when the use is good.
    pub successor: TokenHash,
    /// The successor, sealed for whoever holds the presented token.
    pub successor_box: Vec<u8>,
    /// Until when the successor may stay unused; the family's own end comes first if it is earlier.
    pub idle_expires_at: UnixMillis,
    /// Until when access tokens of the family can still be valid, should the family have to be revoked.
    pub revoked_until: UnixMillis,
    /// When.
    pub now: UnixMillis,
    /// Where the request came from, for the audit line of a reuse.
    pub client_address: Option<std::net::IpAddr>,
    /// Which request it was, for the same line.
    pub request: Option<RequestId>,
}

impl<'a> Rotation<'a> {
    /// Prepares the use of `presented` with a fresh `successor`; both stay with the caller, the store sees neither.
    pub fn new(
        presented: &RefreshToken,
        successor: &RefreshToken,
        client_id: &'a str,
        now: UnixMillis,
        idle_expires_at: UnixMillis,
        revoked_until: UnixMillis,
    ) -> Self {
        Self {
            presented: presented.hash(),
            client_id,
            successor: successor.hash(),
            successor_box: sealed::seal(presented, successor),
            idle_expires_at,
            revoked_until,
            now,
            client_address: None,
            request: None,
        }
    }
}

/// What a good use entitles to.
#[derive(Clone, Debug)]
pub struct RefreshGrant {
    /// The account as it is now, with its present roles.
    pub account: Account,
    /// The family.
    pub family: Family,
    /// When the refresh token handed out expires.
    pub expires_at: UnixMillis,
}

/// What became of a use of a refresh token.
#[derive(Clone, Debug)]
pub enum RotationOutcome {
    /// The successor is in force: hand it out.
    Rotated(RefreshGrant),
    /// A retry: open the box with the presented token ([`sealed::open`]) and hand out what is inside.
    Repeated {
        /// As for the first use.
        grant: RefreshGrant,
        /// The successor issued then.
        successor_box: Vec<u8>,
    },
    /// The token had been spent: the family is revoked as of now and its session with it.
    Reused {
        /// Whose tokens were stolen.
        account: AccountId,
        /// The session that ended.
        session: SessionId,
        /// For the shared state.
        revocation: Revocation,
    },
    /// Too old, or its family is.
    Expired,
    /// Its family was revoked before.
    Revoked,
    /// The account is disabled.
    AccountNotActive,
    /// Not a token of ours, or of this client.
    Unknown,
}

/// Where a reader of revocations stands. The default lies before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RevocationPosition(pub i64);

/// What became of the first signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstKey {
    /// Stored, active.
    Created,
    /// There were keys already; read the ring.
    KeysExist,
}

/// What became of a new set-up token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupCreation {
    /// In force.
    Created,
    /// Nobody needs one.
    AdministratorExists,
}

/// What became of a use of the set-up token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupOutcome {
    /// The first administrator is stored; the token is spent.
    Created,
    /// Unknown, spent, replaced or expired.
    InvalidToken,
    /// The address belongs to another account; the token is not spent.
    EmailTaken,
}

/// How many rows a purge deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Refresh tokens.
    pub refresh_tokens: u64,
    /// Families.
    pub families: u64,
    /// Revocations.
    pub revocations: u64,
    /// Set-up tokens.
    pub setup_tokens: u64,
    /// Mails that were sent or given up long ago, and tokens of mails.
    pub mails: u64,
}

impl Purged {
    /// All rows.
    pub fn total(&self) -> u64 {
        self.refresh_tokens + self.families + self.revocations + self.setup_tokens + self.mails
    }
}

/// How the connections of a pool are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolMetrics {
    /// Open connections.
    pub open: u32,
    /// Of these, idle.
    pub idle: u32,
    /// Most that may be open.
    pub max: u32,
}
