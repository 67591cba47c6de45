//! Pure types and state machines of the auth service. Never awaits, reads a clock, draws randomness or logs.
//!
//! `now` and random bytes are arguments. Nothing here derives serde: what travels or is stored is spelled out where it does.

mod account;
mod api_key;
mod audit;
mod base32;
mod email;
mod instance;
mod key_plan;
mod mail;
mod network;
mod password;
mod permission;
mod proof;
mod recovery;
mod refresh;
mod request_id;
mod revocation;
mod session;
mod setting;
mod setup;
mod signing_key;
mod subject;
mod tier;
mod time;
mod totp;

pub use account::{Account, AccountId, AccountStatus, InvalidRole, PasswordHash, Role};
pub use api_key::{API_KEY_PREFIX, ApiKey, ApiKeyId, ApiKeyName, ApiKeySecret, InvalidApiKeyName};
pub use audit::{
    Actor, AddressPolicy, AuditEntry, AuditEvent, AuditOutcome, AuditRow, ChainKey, ChainMark,
    ChainWalk, Flaw, MarkKind, Personal, Tag,
};
pub use email::{Email, InvalidEmail};
pub use instance::{InstanceRecord, InstanceState};
pub use key_plan::{KeyPlan, KeyStep, PUBLISHED_AHEAD, wait_until_known};
pub use mail::{MailKind, MailToken};
pub use network::Network;
pub use password::{NewPassword, PasswordRefused, PresentedPassword};
pub use permission::{
    GRANTS_MAX, InvalidPermission, Permission, PermissionGrant, PermissionSet, PermissionVersion,
};
pub use proof::{Proof, ProvedBy};
pub use recovery::{RECOVERY_CODES, RecoveryCode};
pub use refresh::{
    Family, FamilyId, RETRY_GRACE, RefreshRecord, RefreshToken, SessionId, TokenHash, TokenState,
    Verdict, judge,
};
pub use request_id::RequestId;
pub use revocation::{Revocation, TokenFacts};
pub use session::{SessionCursor, SessionRecord};
pub use setting::StoredSetting;
pub use setup::{SETUP_TOKEN_TTL, SetupToken};
pub use signing_key::{KeyState, SigningKeyRecord};
pub use subject::{Client, ClientName, InvalidClientName, RoleDefinition, Subject, SubjectId};
pub use tier::{InvalidTier, Tier};
pub use time::UnixMillis;
pub use totp::{ENROLMENT_TTL, TotpCode, TotpSecret, TotpStep};
