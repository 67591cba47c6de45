//! Instances that register themselves in Redis. Never writes there, and never reads anything but the
//! registry.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, TlsCertificates};

use super::Desk;
use super::registry::{Entry, Registry};
use crate::config::{EndpointDefaults, RedisPlace};

/// For a connection, and for all that is asked in one look; longer, and Redis is as good as gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// Registrations that are read: the latest to end.
const ENTRIES_MAX: isize = 1000;

/// Why a look at a registry came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Timeout,
    #[error("the certificates of its authorities cannot be read: {0}")]
    Authorities(std::io::Error),
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// Follows a registry for ever.
pub(super) async fn follow(desk: &Desk, place: &RedisPlace, defaults: &EndpointDefaults) {
    let mut registry = Registry::default();
    let mut connection = None;
    loop {
        let looked = tokio::time::timeout(PATIENCE, look(&mut connection, place)).await;
        match looked.unwrap_or(Err(LookError::Timeout)) {
            Ok(entries) => {
                let problem = registry.take(entries, defaults, Instant::now());
                desk.found_but(registry.endpoints(), problem);
            }
            Err(error) => {
                // Whatever went wrong may have left half an answer on the way.
                connection = None;
                desk.failed(format!("{}: {error}", place.shown));
            }
        }
        tokio::time::sleep(place.interval).await;
    }
}

/// Every id of the registry, with what is written under it.
async fn look(
    kept: &mut Option<MultiplexedConnection>,
    place: &RedisPlace,
) -> Result<Vec<Entry>, LookError> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(connect(place).await?),
    };
    let mut ids = redis::cmd("ZREVRANGE");
    ids.arg(&place.registry).arg(0).arg(ENTRIES_MAX - 1);
    let ids: Vec<String> = ids.query_async(connection).await?;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = redis::cmd("MGET");
    for id in &ids {
        entries.arg(format!("{}:{id}", place.registry));
    }
    let texts: Vec<Option<String>> = entries.query_async(connection).await?;
    let entries = ids.into_iter().zip(texts);
    Ok(entries.map(|(id, text)| Entry { id, text }).collect())
}

async fn connect(place: &RedisPlace) -> Result<MultiplexedConnection, LookError> {
    let url = place.url.expose().as_str();
    let client = match &place.authorities {
        None => Client::open(url)?,
        // Read each time, so that another file counts from the next connection on.
        Some(file) => {
            let pem = tokio::fs::read(file).await;
            let certificates = TlsCertificates {
                client_tls: None,
                root_cert: Some(pem.map_err(LookError::Authorities)?),
            };
            Client::build_with_tls(url, certificates)?
        }
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        // A look has its own.
        .set_response_timeout(None);
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    Ok(connecting.await?)
}
