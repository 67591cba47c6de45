//! The auth service over real sockets and real files: every endpoint, good and bad
//! input. Never looks inside the service.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

/// Makes two tests of each case, one for each database that keeps what instances must not forget.
macro_rules! on_every_store {
    ($($case:ident,)*) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case($crate::harness::Installation::new().await).await;
                }
            )*
        }
        mod on_postgres {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case($crate::harness::Installation::on_postgres().await).await;
                }
            )*
        }
    };
}

mod accounts;
mod administration;
mod attacks;
mod audit;
mod authorization;
mod cluster;
mod cookies;
mod factors;
mod guessing;
mod harness;
mod health;
mod input;
mod internal;
mod keys;
mod libraries;
mod lifecycle;
mod limits;
mod login;
mod mail;
mod operator;
mod outage;
mod own_sessions;
mod passwords;
mod postgres;
mod published;
mod recovery;
mod registry;
mod sentinel;
mod sessions;
