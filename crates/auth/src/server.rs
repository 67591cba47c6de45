//! The composition root: opens, builds and wires everything, and takes it down
//! again in order. Never holds a rule.

mod internal;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use portcullis_ops::Secret;
use portcullis_ops::manager;
use portcullis_ops::telemetry::LogLevel;
use portcullis_token::{Skew, TokenType, Verifier};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::app::authorization::{ApiKeys, Subjects};
use crate::app::health::Checker;
use crate::app::session::SessionPolicy;
use crate::app::{App, Cause, Policy};
use crate::breaker::Breakers;
use crate::config::{Config, SharedState};
use crate::database;
use crate::domain::{ChainKey, SETUP_TOKEN_TTL, SetupToken, UnixMillis};
use crate::http::load_balancer;
use crate::http::session::Cookies;
use crate::http::{self as web, Identity, Service, connection};
use crate::jobs::{self, Replay};
use crate::keys::{Keeper, Kek, KekError, KeyRing, KeyRingError};
use crate::lifecycle::{Lifecycle, Phase, PhaseWatch};
use crate::live::Live;
use crate::mail::outbox::{MailHealth, Outbox};
use crate::mail::{MailError, Mailer};
use crate::metrics::Metrics;
use crate::password::breached::{Breached, BreachedError};
use crate::password::{HasherConfig, PasswordHasher};
use crate::random;
use crate::registry::{self, Own, Registry};
use crate::shared::guarded::GuardedShared;
use crate::shared::redis::{self, RedisSetupError};
use crate::shared::{EmbeddedShared, Shared};
use crate::store::{SetupCreation, Store, StoreError, Trail};
pub use internal::InternalError;
use internal::Opened;

/// Why an instance cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key that encrypts signing keys cannot be had.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The signing keys cannot be read or made.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeyRingError),
    /// Revocations could not be made known to the shared state, so no token could be trusted.
    #[error("the revocations could not be loaded")]
    Revocations(#[source] Cause),
    /// The filter of stolen passwords cannot be used.
    #[error("BREACHED_PASSWORDS_FILE cannot be used")]
    Breached(#[from] BreachedError),
    /// The costs of stored password hashes cannot be looked at.
    #[error("the password hashes cannot be read")]
    Passwords(#[source] Cause),
    /// The threads that hash passwords could not be started.
    #[error("the hash workers cannot be started")]
    HashWorkers(#[source] io::Error),
    /// The listener for edges cannot be had.
    #[error("the internal listener cannot be used")]
    Internal(#[from] InternalError),
    /// Mail cannot be sent with these settings.
    #[error("mail cannot be sent")]
    Mail(#[from] MailError),
    /// The listener has no address.
    #[error("the listener cannot be used")]
    Listener(#[source] io::Error),
    /// The name or version cannot be shown.
    #[error("the instance's name cannot be sent in a header or metric")]
    Identity(#[source] Cause),
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key that encrypts signing keys, and seals the audit log, cannot be had.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The durable store.
    #[error("the database {place} cannot be opened")]
    Store {
        /// Its file or server.
        place: String,
        /// What went wrong.
        #[source]
        source: StoreError,
    },
    /// The shared state.
    #[error("the shared state {} cannot be opened", path.display())]
    Shared {
        /// Its file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: StoreError,
    },
    /// The shared state in Redis.
    #[error("the shared state {place} cannot be used")]
    Redis {
        /// Where it is, without its password.
        place: String,
        /// What went wrong.
        #[source]
        source: RedisSetupError,
    },
}

/// Why preparing failed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key that encrypts signing keys cannot be had.
    #[error(transparent)]
    Kek(#[from] KekError),
    /// The first signing key could not be made.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeyRingError),
    /// The set-up token could not be stored.
    #[error("the set-up token could not be stored")]
    SetupToken(#[source] StoreError),
}

/// What `prepare` found or made.
#[derive(Debug)]
pub struct Prepared {
    /// Creates the first administrator, once; `None` when there is one.
    pub setup_token: Option<Secret<String>>,
    /// How long the token is good.
    pub setup_token_expires_in: Duration,
}

/// Brings the schema up to date, makes the first signing key, and a one-time
/// set-up token as long as there is no administrator. Any number of processes may
/// do so at once; the last set-up token is the one that counts.
pub async fn prepare(config: &Config) -> Result<Prepared, PrepareError> {
    let stores = Stores::open(config).await?;
    let prepared = async {
        let kek = Kek::obtain(&config.keys.encryption_key).await?;
        let keeper = Keeper::new(config, stores.store.clone(), kek).await;
        let keeper = keeper.map_err(KeyRingError::from)?;
        keeper.prepare(now()).await?;
        let token = SetupToken::from_random(random::bytes());
        let expires_at = now().plus(SETUP_TOKEN_TTL);
        let created = stores
            .store
            .create_setup_token(&token.hash(), expires_at, now())
            .await;
        let setup_token = match created.map_err(PrepareError::SetupToken)? {
            SetupCreation::Created => Some(Secret::new(token.expose().to_owned())),
            SetupCreation::AdministratorExists => None,
        };
        Ok(Prepared {
            setup_token,
            setup_token_expires_in: SETUP_TOKEN_TTL,
        })
    }
    .await;
    stores.close().await;
    prepared
}

/// Serves one instance on `listener` until `shutdown` resolves and everything in
/// flight has finished: readiness fails at once, requests are served for the drain
/// delay, then nothing new is accepted.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    serve_logging(listener, config, LogLevel::fixed(), shutdown).await
}

/// As [`serve`], where the level of the log can be changed meanwhile.
pub async fn serve_logging(
    listener: TcpListener,
    config: Config,
    log: LogLevel,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    let stores = Stores::open(&config).await?;
    let (lifecycle, phase) = Lifecycle::new();
    let instance = match Instance::build(&config, &stores, address, &phase, log).await {
        Ok(instance) => instance,
        Err(error) => {
            stores.close().await;
            return Err(error);
        }
    };
    tracing::info!(%address, instance = config.instance.id, "serving");
    manager::ready("serving");
    instance
        .run(listener, &config, lifecycle, phase, shutdown)
        .await;
    stores.close().await;
    tracing::info!(instance = config.instance.id, "stopped");
    Ok(())
}

/// Everything of one instance that outlives a request.
struct Instance {
    service: Arc<Service>,
    registry: Arc<Registry>,
    jobs: JoinSet<()>,
    internal: Option<Opened>,
}

impl Instance {
    async fn build(
        config: &Config,
        stores: &Stores,
        address: SocketAddr,
        phase: &PhaseWatch,
        log: LogLevel,
    ) -> Result<Self, ServeError> {
        let (store, shared) = (&stores.store, &stores.shared);
        let kek = Kek::obtain(&config.keys.encryption_key).await?;
        let keeper = Keeper::new(config, store.clone(), kek).await;
        let keys = KeyRing::open(keeper.map_err(KeyRingError::from)?, now()).await?;
        let keys = Arc::new(keys.remembering(config.tokens.seen));
        let replay = Replay::new(store.clone(), shared.clone());
        at_start(shared, replay.run(now()).await)?;
        let internal = match &config.internal {
            Some(internal) => Some(Opened::open(internal, config, stores, phase).await?),
            None => None,
        };
        let metrics = Metrics::new(&config.instance.version, &config.instance.id)
            .map_err(|error| ServeError::Identity(error.into()))?;
        let metrics = Arc::new(metrics);
        let given_key = keys.given();
        let own = Own::new(config, address, now(), given_key.as_deref());
        let (watch, counting) = (phase.clone(), metrics.clone());
        let registry = Registry::new(store.clone(), shared.clone(), own, watch, counting);
        let registry = Arc::new(registry);
        at_start(shared, registry.beat(now()).await)?;
        let living = registry::living(store.as_ref(), shared.as_ref(), now()).await;
        let living = living.map_or(1, |living| living.len());
        database::check_connections(store.as_ref(), &config.database, living).await;
        let passwords = hasher(config)?;
        jobs::learn_costs(store.as_ref(), &passwords)
            .await
            .map_err(ServeError::Passwords)?;
        let outbox = outbox(config, store, &metrics)?;
        let live = Live::start(config, log, store.as_ref()).await;
        let service = Arc::new(Service {
            app: App {
                store: store.clone(),
                shared: shared.clone(),
                keys: keys.clone(),
                passwords: passwords.clone(),
                policy: policy(config),
                metrics: metrics.clone(),
                breakers: stores.breakers.clone(),
                subjects: Subjects::new(config.tokens.seen_subjects),
                api_keys: ApiKeys::default(),
                live: live.clone(),
                chain: stores.chain.clone(),
            },
            identity: identity(config),
            phase: phase.clone(),
            metrics,
            trusted_proxies: config.instance.trusted_proxies.clone(),
            cookies: Cookies::new(&config.sessions, &config.tokens.issuer),
            dependencies: Checker::default(),
            mail: outbox.as_ref().map(|outbox| outbox.health.clone()),
            settings: load_balancer::config::settings(config, shared.kind()),
            shows_metrics: config.internal.is_none(),
            has_warned_of_proxy: AtomicBool::new(false),
            instance_header: HeaderValue::from_str(&config.instance.id)
                .map_err(|error| ServeError::Identity(error.into()))?,
        });
        let mut jobs = jobs::start(store, shared, &keys, &registry, &passwords, replay, phase);
        if let Some(outbox) = outbox {
            jobs.spawn(outbox.run(phase.clone()));
        }
        jobs::follow_settings(&mut jobs, store, &live, phase);
        jobs::keep_audit(&mut jobs, store, &live, &config.instance.id, phase);
        Ok(Self {
            service,
            registry,
            jobs,
            internal,
        })
    }

    async fn run(
        mut self,
        listener: TcpListener,
        config: &Config,
        lifecycle: Lifecycle,
        phase: PhaseWatch,
        shutdown: impl Future<Output = ()>,
    ) {
        let router = web::router(self.service.clone());
        let metrics = self.service.metrics.clone();
        let limits = connection::Limits::default();
        let serving = connection::serve(listener, router, phase.clone(), metrics, limits);
        let internal = self.internal.take();
        let service = self.service.clone();
        let internal = async move {
            if let Some(opened) = internal {
                opened.serve(service, phase).await;
            }
        };
        let mut serving = std::pin::pin!(async { tokio::join!(serving, internal) });
        let leaving = async {
            shutdown.await;
            tracing::info!(
                delay_ms = config.instance.drain_delay.as_millis() as u64,
                "draining"
            );
            lifecycle.advance(Phase::Draining);
            if let Err(error) = self.registry.beat(now()).await {
                tracing::warn!(%error, "the registry does not know yet that this instance drains");
            }
            tokio::time::sleep(config.instance.drain_delay).await;
            lifecycle.advance(Phase::Stopping);
            tokio::time::sleep(config.instance.shutdown_timeout).await;
        };
        tokio::select! {
            ((), ()) = serving.as_mut() => {}
            () = leaving => tracing::warn!("SHUTDOWN_TIMEOUT is over: requests were cut off"),
            () = watch_to_the_end(&mut self.jobs) => {}
        }
        watch(&mut self.jobs).await;
        if let Err(error) = self.registry.leave().await {
            tracing::warn!(%error, "this instance stays in the registry until its entry expires");
        }
    }
}

/// An instance starts without a shared state that says of itself that it lacks something, as Redis does when it is
/// away: the store stands in for it.
fn at_start(shared: &Arc<dyn Shared>, outcome: Result<(), Cause>) -> Result<(), ServeError> {
    match outcome {
        Err(error) if !shared.is_whole() => {
            tracing::warn!(%error, "starting without the shared state");
            Ok(())
        }
        outcome => outcome.map_err(ServeError::Revocations),
    }
}

/// Reports jobs that end badly, when it happens, for as long as it is polled.
async fn watch_to_the_end(jobs: &mut JoinSet<()>) {
    watch(jobs).await;
    std::future::pending().await
}

/// Returns when all jobs have ended.
async fn watch(jobs: &mut JoinSet<()>) {
    while let Some(ended) = jobs.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a job ended badly and stays away until the next start");
        }
    }
}

/// The two databases of one process.
pub(crate) struct Stores {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shared: Arc<dyn Shared>,
    pub(crate) breakers: Breakers,
    /// Seals and links the audit log.
    pub(crate) chain: ChainKey,
}

impl Stores {
    /// Opens both and brings their schemas up to date.
    pub(crate) async fn open(config: &Config) -> Result<Self, OpenError> {
        let breakers = Breakers::new(config.breakers);
        let unusable = |source| OpenError::Store {
            place: config.database.place.to_string(),
            source,
        };
        database::is_possible(&config.database).map_err(unusable)?;
        let chain = Kek::obtain(&config.keys.encryption_key).await?.audit_key();
        let shared: Arc<dyn Shared> = match &config.shared_state {
            SharedState::File(path) => {
                let failed = |source| OpenError::Shared {
                    path: path.clone(),
                    source,
                };
                Arc::new(EmbeddedShared::open(path).await.map_err(failed)?)
            }
            SharedState::Redis(options) => {
                let failed = |source| OpenError::Redis {
                    place: options.place(),
                    source,
                };
                redis::open(options).await.map_err(failed)?
            }
        };
        let mut shared = GuardedShared::new(shared, breakers.shared_state.clone());
        if !config.degraded.allows_logins {
            shared = shared.without_local_counters();
        }
        let shared: Arc<dyn Shared> = Arc::new(shared);
        let store = database::open(
            &config.database,
            trail(config, chain.clone()),
            &breakers.database,
            Some(shared.clone()),
        )
        .await;
        let store = match store {
            Ok(store) => store,
            Err(source) => {
                shared.close().await;
                return Err(unusable(source));
            }
        };
        Ok(Self {
            store,
            shared,
            breakers,
            chain,
        })
    }

    pub(crate) async fn close(&self) {
        self.shared.close().await;
        self.store.close().await;
    }
}

fn trail(config: &Config, key: ChainKey) -> Trail {
    Trail {
        is_written: config.audit.is_written,
        addresses: config.audit.addresses,
        key: Some(key),
    }
}

pub(crate) fn hasher(config: &Config) -> Result<PasswordHasher, ServeError> {
    let settings = &config.passwords;
    let breached = match &settings.breached {
        Some(path) => Some(Arc::new(Breached::open(path)?)),
        None => None,
    };
    let host = config.tokens.issuer_host();
    // `acme` of auth.acme.test, and not `com`.
    let names = host.split('.').filter(|label| label.len() > 3);
    let names = names.chain([host]).map(str::to_owned);
    let config = HasherConfig {
        breached,
        forbidden: settings.forbidden.iter().cloned().chain(names).collect(),
        ..HasherConfig::new(settings.hash_workers, settings.peppers())
    };
    PasswordHasher::start(config).map_err(ServeError::HashWorkers)
}

fn policy(config: &Config) -> Policy {
    Policy {
        verifier: Verifier {
            issuer: config.tokens.issuer.clone(),
            audience: config.tokens.audience.clone(),
            token_type: TokenType::AccessToken,
            skew: Skew::DEFAULT,
        },
        access_token_ttl: config.tokens.access_ttl,
        refresh_idle_ttl: config.tokens.refresh_idle_ttl,
        refresh_absolute_ttl: config.tokens.refresh_absolute_ttl,
        limits_logins: config.limits.slows_guessing,
        revocation_fallback: config.degraded.revocations,
        factor_issuer: config.tokens.issuer_host().to_owned(),
        sends_mail: config.mail.is_some(),
        sessions: config.sessions.is_enabled.then(|| SessionPolicy {
            verifier: Verifier {
                issuer: config.tokens.issuer.clone(),
                audience: config.tokens.issuer.clone(),
                token_type: TokenType::Session,
                skew: Skew::DEFAULT,
            },
            ttl: config.sessions.ttl,
            idle_ttl: config.sessions.idle_ttl,
        }),
    }
}

/// What sends mail, where there is a server for it.
fn outbox(
    config: &Config,
    store: &Arc<dyn Store>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Outbox>, MailError> {
    let Some(mail) = &config.mail else {
        return Ok(None);
    };
    Ok(Some(Outbox {
        store: store.clone(),
        mailer: Mailer::new(mail, &config.tokens.issuer)?,
        metrics: metrics.clone(),
        health: Arc::new(MailHealth::default()),
    }))
}

fn identity(config: &Config) -> Identity {
    Identity {
        instance_id: config.instance.id.clone(),
        name: config.instance.name.clone(),
        version: config.instance.version.clone(),
        environment: config.environment.as_str(),
        flags: config.flags,
        started: Instant::now(),
    }
}

fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}

#[cfg(test)]
pub(crate) mod tests;
