//! What is measured, running: instances of one binary with a PostgreSQL, a Redis and accounts of their own. Never asks
//! them how they are.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use portcullis_testkit::redis::Redis;
use portcullis_testkit::{
    Connection, Postgres, Process, ReservedPort, free_port, process, wait_until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cases::{Place, Work};
use crate::load::{Asking, Client, get, post, post_with};

/// What every instance is told, beside where its databases are.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    // One client logs in thousands of times from one address.
    ("AUTH_RATE_LIMIT_ENABLED", "false"),
    ("ACCESS_TOKEN_TTL", "3600"),
    ("ISSUER_URL", ISSUER),
    ("SECURITY_SALT", "0123456789abcdef0123456789abcdef"),
    ("DRAIN_DELAY", "0"),
];

/// What Debian's PostgreSQL has by default, and testkit's, made for tests, has not.
pub(crate) const POSTGRES: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("autovacuum", "on"),
    ("shared_buffers", "128MB"),
    ("max_wal_size", "1GB"),
];

/// In every token.
pub(crate) const ISSUER: &str = "http://auth.example";
const PASSWORD: &str = "a long enough passphrase";
const ACCOUNTS: usize = 16;
/// On the same PostgreSQL and Redis.
pub(crate) const INSTANCES: usize = 3;
/// Of a load of small requests.
pub(crate) const CLIENTS: usize = 48;
/// Of logins: more than there are threads that hash, so that none waits for work.
pub(crate) const LOGIN_CLIENTS: usize = 12;

/// All instances of one binary.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    instances: Vec<Instance>,
    forgetful: Instance,
    unremembering: Instance,
    embedded: Instance,
    /// Refresh tokens in use, at the servers and embedded.
    chains: [Vec<String>; 2],
    access: Vec<String>,
    postgres: Postgres,
    redis: Redis,
    _data: TempDir,
}

struct Instance {
    process: Process,
    port: ReservedPort,
}

/// Whose processor time is looked at.
pub(crate) struct Processes {
    pub(crate) auth: Vec<u32>,
    pub(crate) postgres: Vec<u32>,
    pub(crate) redis: Vec<u32>,
}

impl Site {
    /// Starts everything and logs everybody in.
    pub(crate) async fn start(
        name: &'static str,
        binary: &Path,
        workers: Option<NonZeroUsize>,
    ) -> Result<Site> {
        let data = TempDir::new()?;
        let postgres = Postgres::start_with(POSTGRES).await;
        let redis = Redis::start().await;
        // The runtime's own variable.
        let workers = workers.map(|count| ("TOKIO_WORKER_THREADS", count.to_string()));
        let mut servers = vec![("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
        servers.extend(workers.clone());
        let directory = data.path().join("servers");
        let directory_of_servers = directory.clone();
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            instances.push(Instance::start(binary, &directory, &servers).await?);
        }
        let mut forgetting = servers.clone();
        forgetting.push(("SEEN_TOKENS", "0".to_owned()));
        let forgetful = Instance::start(binary, &directory, &forgetting).await?;
        let mut unremembering = servers.clone();
        unremembering.push(("SEEN_SUBJECTS", "0".to_owned()));
        let unremembering = Instance::start(binary, &directory, &unremembering).await?;
        let directory = data.path().join("embedded");
        let file = format!("sqlite://{}/auth.db", directory.display());
        let mut files = vec![("DATABASE_URL", file)];
        files.extend(workers);
        let embedded = Instance::start(binary, &directory, &files).await?;
        register(instances[0].port.address()).await?;
        register(embedded.port.address()).await?;
        give_roles(binary, &directory_of_servers, &servers)?;
        // Roles void the tokens of the second they were given in.
        let given = SystemTime::now();
        wait_until("the next second", async || {
            let since = given.elapsed().unwrap_or_default();
            (since > Duration::from_secs(1)).then_some(())
        })
        .await;
        let (access, at_servers) = sessions(instances[0].port.address()).await?;
        let (_, at_embedded) = sessions(embedded.port.address()).await?;
        Ok(Site {
            name,
            instances,
            forgetful,
            unremembering,
            embedded,
            chains: [at_servers, at_embedded],
            access,
            postgres,
            redis,
            _data: data,
        })
    }

    /// An access token that holds, and the document with the key it was signed by.
    pub(crate) async fn sample(&self) -> Result<(String, Vec<u8>)> {
        let mut connection = Connection::open(self.instances[0].port.address()).await?;
        let keys = connection.get("/.well-known/jwks.json").await?;
        ensure!(keys.status == 200, "{}", keys.text());
        Ok((self.access[0].clone(), keys.body))
    }

    /// Ends all instances in peace.
    pub(crate) async fn leave(self) {
        let others = [self.forgetful, self.unremembering, self.embedded];
        for mut instance in self.instances.into_iter().chain(others) {
            instance.process.leave().await;
        }
    }

    fn addresses(&self, place: Place) -> Vec<SocketAddr> {
        let instances = match place {
            Place::One | Place::Third => &self.instances[..1],
            Place::Three => &self.instances,
            Place::Forgetful => std::slice::from_ref(&self.forgetful),
            Place::Unremembering => std::slice::from_ref(&self.unremembering),
            Place::Embedded => std::slice::from_ref(&self.embedded),
        };
        instances
            .iter()
            .map(|instance| instance.port.address())
            .collect()
    }

    pub(crate) fn processes(&self, place: Place) -> Processes {
        let ids = |instances: &[Instance]| -> Vec<u32> {
            instances
                .iter()
                .map(|instance| instance.process.id())
                .collect()
        };
        let auth = match place {
            Place::One | Place::Third => ids(&self.instances[..1]),
            Place::Three => ids(&self.instances),
            Place::Forgetful => vec![self.forgetful.process.id()],
            Place::Unremembering => vec![self.unremembering.process.id()],
            Place::Embedded => vec![self.embedded.process.id()],
        };
        let (postgres, redis) = match place {
            Place::Embedded => (Vec::new(), Vec::new()),
            Place::One | Place::Third | Place::Three | Place::Forgetful | Place::Unremembering => {
                let mut ids = process::descendants(self.postgres.id());
                ids.push(self.postgres.id());
                (ids, vec![self.redis.id()])
            }
        };
        Processes {
            auth,
            postgres,
            redis,
        }
    }

    /// Clients for a load, spread evenly. Those that refresh are to be given back.
    pub(crate) fn clients(&self, work: Work, place: Place) -> Vec<Client> {
        let addresses = self.addresses(place);
        let all = if work == Work::Login {
            LOGIN_CLIENTS
        } else {
            CLIENTS
        };
        let count = if place == Place::Third {
            all / INSTANCES
        } else {
            all
        };
        let chains = &self.chains[usize::from(place == Place::Embedded)];
        let asking = |index: usize| match work {
            Work::Login => Asking::Same(post(LOGIN, &credentials(index).to_string())),
            Work::Verify => {
                let token = &self.access[index % self.access.len()];
                let field = format!("Authorization: Bearer {token}\r\n");
                Asking::Same(get("/api/v1/auth/verify", &field))
            }
            Work::Refresh => Asking::Chain(chains[index].clone()),
            Work::Keys => Asking::Same(get("/.well-known/jwks.json", "")),
            Work::Permission => {
                let body = json!({ "permission": "resource-7:read" });
                Asking::Same(self.check(index, "/api/v1/permissions/check", &body))
            }
            Work::Permissions => {
                let names: Vec<_> = (0..100).map(|n| format!("resource-{n}:read")).collect();
                let body = json!({ "permissions": names });
                Asking::Same(self.check(index, "/api/v1/permissions/check/batch", &body))
            }
        };
        (0..count)
            .map(|index| Client {
                address: addresses[index % addresses.len()],
                asking: asking(index),
            })
            .collect()
    }

    fn check(&self, index: usize, path: &str, body: &Value) -> Vec<u8> {
        let token = &self.access[index % self.access.len()];
        let field = format!("Authorization: Bearer {token}\r\n");
        post_with(path, &field, &body.to_string())
    }

    /// Takes back how far the chains have come.
    pub(crate) fn keep(&mut self, place: Place, clients: Vec<Client>) {
        let chains = &mut self.chains[usize::from(place == Place::Embedded)];
        for (chain, client) in chains.iter_mut().zip(clients) {
            if let Asking::Chain(token) = client.asking {
                *chain = token;
            }
        }
    }
}

const LOGIN: &str = "/api/v1/auth/login";

impl Instance {
    async fn start(
        binary: &Path,
        directory: &Path,
        databases: &[(&str, String)],
    ) -> Result<Instance> {
        std::fs::create_dir_all(directory)?;
        let port = free_port();
        let mut command = Command::new(binary);
        command
            .arg("auth")
            .current_dir(directory)
            // Whoever measures may have settings for an instance of their own.
            .env_clear()
            .env("PORT", port.number().to_string())
            .envs(SETTINGS.iter().copied())
            .envs(databases.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn(command);
        let address = port.address();
        wait_until("an instance to be ready", async || {
            let answer = portcullis_testkit::client::get(address, "/health/ready").await;
            answer.ok().filter(|response| response.status == 200)
        })
        .await;
        Ok(Instance { process, port })
    }
}

fn credentials(index: usize) -> Value {
    json!({ "email": format!("user-{}@example.com", index % ACCOUNTS), "password": PASSWORD })
}

/// Gives every account two roles with 32 permissions each, of which checks ask for some.
fn give_roles(binary: &Path, directory: &Path, databases: &[(&str, String)]) -> Result<()> {
    let run = |arguments: &[String]| -> Result<()> {
        let mut command = Command::new(binary);
        command
            .arg("auth")
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .envs(SETTINGS.iter().copied())
            .envs(databases.iter().map(|(name, value)| (name, value)));
        let done = command.output().context("running an operator's command")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{arguments:?}: {said}");
        Ok(())
    };
    for (role, first) in [("clerk", 0), ("auditor", 32)] {
        let mut arguments = ["role", "set", role].map(str::to_owned).to_vec();
        arguments.extend((first..first + 32).map(|n| format!("resource-{n}:read")));
        run(&arguments)?;
    }
    for index in 0..ACCOUNTS {
        let email = format!("user-{index}@example.com");
        let arguments = ["account", "set-roles", &email, "clerk", "auditor"];
        run(&arguments.map(str::to_owned))?;
    }
    Ok(())
}

async fn register(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    for index in 0..ACCOUNTS {
        let registered = connection
            .post_json("/api/v1/auth/register", &credentials(index))
            .await?;
        ensure!(registered.status == 202, "{}", registered.text());
    }
    Ok(())
}

/// Logs in once for every client: their access and refresh tokens.
async fn sessions(address: SocketAddr) -> Result<(Vec<String>, Vec<String>)> {
    let mut connection = Connection::open(address).await?;
    let (mut access, mut refresh) = (Vec::new(), Vec::new());
    for index in 0..CLIENTS {
        let login = connection.post_json(LOGIN, &credentials(index)).await?;
        ensure!(login.status == 200, "{}", login.text());
        let json = login.json();
        let text = |name: &str| json[name].as_str().map(str::to_owned).context("no token");
        access.push(text("access_token")?);
        refresh.push(text("refresh_token")?);
    }
    Ok((access, refresh))
}
