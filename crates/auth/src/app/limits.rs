//! How often somebody may ask for what costs us, whoever they are and whatever they know. Looked up before anything is
//! hashed, signed or stored. Health, keys and verification are never limited here.

use std::num::NonZeroU32;
use std::time::Duration;

use super::attempts::network;
use super::{App, Origin, Outcome, Refusal};
use crate::config::Rates;
use crate::domain::Email;
use crate::shared::{Allowance, CounterKey, Taken};

/// What all rates are per.
const PERIOD: Duration = Duration::from_secs(60);
/// Registrations by everybody together, in those of one network: rows come from many networks too.
const NETWORKS_THAT_REGISTER: u32 = 10;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited<'a> {
    /// A login with this email, as typed.
    Login(&'a str),
    Registration,
    Refresh,
    /// The second step of a login.
    SecondFactor,
    /// A proof of identity within a session.
    Reauthentication,
    /// Another password of who knows the present one.
    PasswordChange,
    /// Mail to this address, as typed.
    Mail(&'a str),
    /// What a token of a mail is for.
    MailToken,
    /// The first administrator.
    SetUp,
}

impl Limited<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Login(_) => "login",
            Self::Registration => "register",
            Self::Refresh => "refresh",
            Self::SecondFactor => "second_factor",
            Self::Reauthentication => "reauthenticate",
            Self::PasswordChange => "change_password",
            Self::Mail(_) => "mail",
            Self::MailToken => "mail_token",
            Self::SetUp => "setup",
        }
    }

    fn rate(self, rates: &Rates) -> Option<NonZeroU32> {
        match self {
            Self::Login(_) | Self::PasswordChange | Self::SecondFactor | Self::Reauthentication => {
                rates.logins
            }
            Self::Registration | Self::SetUp => rates.registrations,
            Self::Refresh => rates.refreshes,
            Self::Mail(_) | Self::MailToken => rates.mails,
        }
    }
}

impl App {
    /// Takes one from what the requester may still ask for; `None` where that has no limit.
    pub(crate) async fn take(&self, asked: Limited<'_>, origin: Origin) -> Outcome<Option<Taken>> {
        let rates = self.live.standing().dynamic.rates;
        let Some(limit) = asked.rate(&rates) else {
            return Ok(None);
        };
        let allowance = |purpose, parts: &[&str], limit| Allowance {
            key: CounterKey::new(purpose, parts),
            limit,
            period: PERIOD,
        };
        let network = network(origin.client);
        let parts = [asked.name(), network.as_str()];
        let mut allowances = vec![allowance("requests of a network", &parts, limit)];
        match asked {
            // Nothing is told apart by it: it is the same for an address that nobody registered.
            Limited::Login(email) => {
                if let Ok(email) = Email::parse(email) {
                    let parts = [email.as_str()];
                    allowances.push(allowance("logins of an account", &parts, limit));
                }
            }
            Limited::Registration => {
                let all = limit.saturating_mul(NETWORKS_THAT_REGISTER.try_into().unwrap_or(limit));
                allowances.push(allowance("registrations", &[], all));
            }
            Limited::Mail(email) => {
                if let Ok(email) = Email::parse(email) {
                    let parts = [email.as_str()];
                    allowances.push(allowance("mails to an address", &parts, limit));
                }
            }
            Limited::Refresh
            | Limited::PasswordChange
            | Limited::MailToken
            | Limited::SetUp
            | Limited::SecondFactor
            | Limited::Reauthentication => {}
        }
        let taken = self.shared.take(&allowances, origin.now).await?;
        match taken {
            Some(taken) if !taken.is_allowed => {
                self.metrics.rate_limited(asked.name());
                Err(Refusal::RateLimited(taken))
            }
            taken => Ok(taken),
        }
    }
}
