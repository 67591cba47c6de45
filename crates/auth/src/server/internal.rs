//! Brings the internal listener up and takes it down with its instance. Never holds a rule.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fs, io};

use portcullis_ops::Secret;
use tokio::net::TcpListener;

use super::Stores;
use crate::config::{Config, Internal, TokenSource, check_token};
use crate::feed::Feed;
use crate::http::connection::{self, Limits};
use crate::http::{Desk, Service, internal};
use crate::lifecycle::{Phase, PhaseWatch};
use crate::store::StoreError;

/// Edges and scrapers, not clients.
const CONNECTIONS_MAX: usize = 256;
/// More is no token.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Why there is no internal listener.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// Its address is taken or not ours.
    #[error("INTERNAL_ADDRESS: cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its token cannot be read.
    #[error("INTERNAL_TOKEN_FILE: {} cannot be read", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log of revocations cannot be read.
    #[error("the revocations cannot be read")]
    Store(#[from] StoreError),
}

/// Bound, not yet served.
pub(super) struct Opened {
    listener: TcpListener,
    desk: Arc<Desk>,
}

impl Opened {
    /// Needs the first signing key to be there: the log is named after it.
    pub(super) async fn open(
        internal: &Internal,
        config: &Config,
        stores: &Stores,
        phase: &PhaseWatch,
    ) -> Result<Self, InternalError> {
        let token = internal.token.as_ref().map(obtain).transpose()?;
        let bound = TcpListener::bind(internal.address).await;
        let address = internal.address;
        let listener = bound.map_err(|source| InternalError::Bind { address, source })?;
        let feed = Feed::open(stores.store.clone(), &config.tokens.issuer).await?;
        tracing::info!(%address, "edges may follow revocations");
        let desk = Desk {
            feed,
            token,
            phase: phase.clone(),
        };
        Ok(Self {
            listener,
            desk: Arc::new(desk),
        })
    }

    /// Serves until the phase is `Stopping` and every connection has ended.
    pub(super) async fn serve(self, service: Arc<Service>, phase: PhaseWatch) {
        let metrics = service.metrics.clone();
        let router = internal::router(service, self.desk.clone());
        let limits = Limits {
            connections: CONNECTIONS_MAX,
            ..Limits::default()
        };
        let mut stopping = phase.clone();
        let reading = async {
            tokio::select! {
                () = self.desk.feed.keep_reading() => {}
                () = stopping.reached(Phase::Stopping) => {}
            }
        };
        let serving = connection::serve(self.listener, router, phase, metrics, limits);
        tokio::join!(serving, reading);
    }
}

fn obtain(source: &TokenSource) -> Result<Secret<String>, InternalError> {
    let path = match source {
        TokenSource::Inline(token) => return Ok(token.clone()),
        TokenSource::File(path) => path,
    };
    let failed = |source| InternalError::Token {
        path: path.clone(),
        source,
    };
    let invalid = |message: &str| failed(io::Error::new(io::ErrorKind::InvalidData, message));
    if fs::metadata(path).map_err(failed)?.len() > TOKEN_FILE_BYTES_MAX {
        return Err(invalid("is no file with one token"));
    }
    let text = Secret::new(fs::read_to_string(path).map_err(failed)?);
    let token = text.expose().trim();
    check_token(token).map_err(invalid)?;
    Ok(Secret::new(token.to_owned()))
}
