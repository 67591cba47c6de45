//! Accounts as administrators see and change them. Never lets administrators shut themselves out.

use std::collections::BTreeSet;

use super::super::sessions::SessionPage;
use super::super::{App, Origin, Outcome, Owner, Refusal, cursor};
use super::Administrator;
use crate::app::authorization::Unauthorized;
use crate::app::authorization::administration::ROLES_MAX;
use crate::app::factor::Factors;
use crate::domain::{
    Account, AccountId, AccountStatus, ApiKey, AuditEvent, Email, Revocation, Role, SessionCursor,
    SessionId, SubjectId, Tier, UnixMillis,
};
use crate::store::{AccountFilter, PageLimit};

/// One account, and how its owner proves to be it.
#[derive(Debug)]
pub(crate) struct AccountDetails {
    pub(crate) account: Account,
    /// When whoever got the mail said that the address is theirs.
    pub(crate) email_verified_at: Option<UnixMillis>,
    pub(crate) factors: Factors,
}

/// Some accounts, in order of their addresses.
#[derive(Debug)]
pub(crate) struct AccountPage {
    pub(crate) accounts: Vec<Account>,
    /// Where the next page begins, for the same filter.
    pub(crate) next: Option<String>,
}

impl App {
    /// Accounts that fit.
    pub(crate) async fn find_accounts(
        &self,
        administrator: Administrator,
        filter: &AccountFilter,
        cursor: Option<&str>,
        limit: PageLimit,
        origin: Origin,
    ) -> Outcome<AccountPage> {
        let page = self.try_find_accounts(administrator, filter, cursor, limit);
        let page = async {
            let page = page.await?;
            let line = administrator.line(AuditEvent::AccountsRead, origin);
            self.store.append_audit(&line).await?;
            Ok(page)
        };
        self.counted("find_accounts", page.await)
    }

    async fn try_find_accounts(
        &self,
        administrator: Administrator,
        filter: &AccountFilter,
        cursor: Option<&str>,
        limit: PageLimit,
    ) -> Outcome<AccountPage> {
        let list = format!("{filter:?}");
        let after = match cursor {
            None => None,
            Some(cursor) => {
                let place = cursor::read(&self.chain, &list, cursor);
                let place = place.and_then(|place| Email::parse(&place).ok());
                Some(place.ok_or(Refusal::StrangeCursor)?)
            }
        };
        let accounts = self
            .store
            .find_accounts(filter, after.as_ref(), limit, administrator.account())
            .await?;
        let is_full = accounts.len() >= usize::from(limit.rows());
        let last = accounts.last().filter(|_| is_full);
        let next = last.map(|last| cursor::write(&self.chain, &list, last.email.as_str()));
        Ok(AccountPage { accounts, next })
    }

    /// One account.
    async fn account(
        &self,
        administrator: Administrator,
        id: AccountId,
        origin: Origin,
    ) -> Outcome<Account> {
        let found = async {
            let account = self.existing(id).await?;
            let line = administrator.line_about(id, AuditEvent::AccountRead, origin);
            self.store.append_audit(&line).await?;
            Ok(account)
        };
        self.counted("read_account", found.await)
    }

    /// One account, with its factors.
    pub(crate) async fn account_details(
        &self,
        administrator: Administrator,
        id: AccountId,
        origin: Origin,
    ) -> Outcome<AccountDetails> {
        Ok(AccountDetails {
            account: self.account(administrator, id, origin).await?,
            email_verified_at: self.store.email_verified_at(id).await?,
            factors: self.factors(id).await?,
        })
    }

    /// Opens or shuts an account; shut, its sessions end on every instance before this returns.
    pub(crate) async fn change_status(
        &self,
        administrator: Administrator,
        id: AccountId,
        status: AccountStatus,
        origin: Origin,
        clock: fn() -> UnixMillis,
    ) -> Outcome<Account> {
        let changed = async {
            let event = match status {
                AccountStatus::Active => AuditEvent::Enabled,
                AccountStatus::Disabled => AuditEvent::Disabled,
            };
            if id == administrator.account() && status == AccountStatus::Disabled {
                return Err(Refusal::OwnAccount);
            }
            let line = administrator.line_about(id, event, origin);
            let until = self.tokens_end(origin.now);
            if !self.store.set_status(id, status, until, &line).await? {
                return Err(Refusal::NoSuchAccount);
            }
            self.publish_permissions().await?;
            if status == AccountStatus::Disabled {
                self.void_tokens(id, clock()).await?;
            }
            self.existing(id).await
        };
        self.counted("change_status", changed.await)
    }

    /// Replaces the roles of an account; tokens with the old ones are void before this returns.
    pub(crate) async fn change_roles(
        &self,
        administrator: Administrator,
        id: AccountId,
        roles: &[String],
        origin: Origin,
        clock: fn() -> UnixMillis,
    ) -> Outcome<Account> {
        let changed = async {
            let roles = roles.iter().map(|role| Role::parse(role));
            let roles: BTreeSet<Role> = roles
                .collect::<Result<_, _>>()
                .map_err(|_| Unauthorized::InvalidRole)?;
            if roles.len() > ROLES_MAX {
                return Err(Unauthorized::TooMany.into());
            }
            let is_admin = roles.iter().any(|role| role.as_str() == Role::ADMIN);
            if id == administrator.account() && !is_admin {
                return Err(Refusal::OwnAccount);
            }
            let names: Vec<&str> = roles.iter().map(Role::as_str).collect();
            let line = administrator.line_about(id, AuditEvent::RolesChanged, origin);
            let line = line.about(&names.join(","));
            if !self.store.set_roles(id, &roles, &line).await? {
                return Err(Refusal::NoSuchAccount);
            }
            self.publish_permissions().await?;
            self.void_tokens(id, clock()).await?;
            self.existing(id).await
        };
        self.counted("change_roles", changed.await)
    }

    /// Puts an account into a tier; its tokens say so from the next login or refresh on.
    pub(crate) async fn change_tier(
        &self,
        administrator: Administrator,
        id: AccountId,
        tier: &str,
        origin: Origin,
    ) -> Outcome<Account> {
        let changed = async {
            let tier = Tier::parse(tier).map_err(|_| Unauthorized::InvalidTier)?;
            let line = administrator.line_about(id, AuditEvent::TierChanged, origin);
            let line = line.about(tier.as_str());
            if !self.store.set_tier(id, tier, &line).await? {
                return Err(Refusal::NoSuchAccount);
            }
            self.publish_permissions().await?;
            self.existing(id).await
        };
        self.counted("change_tier", changed.await)
    }

    /// Takes authenticator and recovery codes away from whoever lost them; sessions go on. Whoever holds the password
    /// is in from then on, so that the administrator has to have proved who they are within the last minutes.
    pub(crate) async fn reset_factors(
        &self,
        administrator: Administrator,
        id: AccountId,
        origin: Origin,
    ) -> Outcome<()> {
        let reset = async {
            self.require_fresh(administrator.owner, origin.now).await?;
            self.existing(id).await?;
            let line = administrator.line_about(id, AuditEvent::FactorsReset, origin);
            match self.store.remove_factors(id, &line).await? {
                true => Ok(()),
                false => Err(Refusal::NoFactor),
            }
        };
        self.counted("factors_reset", reset.await)
    }

    /// The API keys of an account, the newest first.
    pub(crate) async fn api_keys_of_account(
        &self,
        administrator: Administrator,
        id: AccountId,
        origin: Origin,
    ) -> Outcome<Vec<ApiKey>> {
        self.account(administrator, id, origin).await?;
        self.api_keys_of(&SubjectId::Account(id)).await
    }

    /// The sessions of an account.
    pub(crate) async fn sessions_of_account(
        &self,
        administrator: Administrator,
        id: AccountId,
        after: Option<SessionCursor>,
        limit: PageLimit,
        origin: Origin,
    ) -> Outcome<SessionPage> {
        self.account(administrator, id, origin).await?;
        let owner = Owner {
            account: id,
            session: SessionId::from_random([0; 16]),
            expires_at: origin.now,
        };
        self.list_sessions(owner, after, limit, origin.now).await
    }

    /// Ends one session of an account, or all of them.
    pub(crate) async fn end_sessions_of_account(
        &self,
        administrator: Administrator,
        id: AccountId,
        session: Option<SessionId>,
        origin: Origin,
    ) -> Outcome<()> {
        let ended = async {
            let until = self.tokens_end(origin.now);
            let Some(session) = session else {
                let event = AuditEvent::LoggedOutEverywhere;
                let line = administrator.line_about(id, event, origin);
                let ended = self.store.end_all_sessions_of(id, until, &line).await?;
                let cut = ended.ok_or(Refusal::NoSuchAccount)?;
                return self.share_cut(cut, origin.now).await;
            };
            let line = administrator.line_about(id, AuditEvent::SessionEnded, origin);
            let line = line.in_session(session);
            let ended = self.store.end_session_of(id, session, until, &line).await?;
            self.share(ended.ok_or(Refusal::NoSuchSession)?).await
        };
        self.counted("end_sessions", ended.await)
    }

    async fn existing(&self, id: AccountId) -> Outcome<Account> {
        let found = self.store.account_by_id(id).await?;
        found.ok_or(Refusal::NoSuchAccount)
    }

    /// Makes void what was issued before a change. The cut comes after it: a login that was granted while the change
    /// waited for its turn to write knows only the old state.
    async fn void_tokens(&self, id: AccountId, now: UnixMillis) -> Outcome<()> {
        let revocation = Revocation::Account {
            sub: id,
            not_before: now,
            until: self.tokens_end(now),
        };
        self.store.add_revocation(&revocation).await?;
        self.share(revocation).await
    }
}
