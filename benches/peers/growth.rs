//! How processor time per request grows with a site: one size changes, all else stays, and each contender
//! is compared with itself at the smallest. Never measures two things at once.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use portcullis_token::{Algorithm, Authentication, Claims, Jwks, SigningKey, TokenType, sign};

use crate::configs::Site;
use crate::contender::{Contender, Instance, Program, Setting};
use crate::load::client;
use crate::load::rotation::{IN_USE, Rotation};
use crate::origin::Origins;
use crate::results::Metric;
use crate::rounds::{Run, microseconds_of, order};

/// One size that changes.
pub(crate) struct Series {
    /// How `--only` calls it.
    pub(crate) key: &'static str,
    grows: Grows,
    steps: &'static [usize],
}

#[derive(Clone, Copy, PartialEq)]
enum Grows {
    /// Open ones, of which [`IN_USE`] are in use at a time, each in its turn.
    Connections,
    Endpoints,
    Routes,
    Workers,
    /// None (0) or all of those of [`Site::policies`] (1).
    Policies,
}

pub(crate) const SERIES: &[Series] = &[
    Series {
        key: "connections",
        grows: Grows::Connections,
        steps: &[1, 50, 1_000, 10_000],
    },
    Series {
        key: "endpoints",
        grows: Grows::Endpoints,
        steps: &[3, 30, 300, 1_000],
    },
    Series {
        key: "routes",
        grows: Grows::Routes,
        steps: &[1, 10, 100, 1_000],
    },
    Series {
        key: "workers",
        grows: Grows::Workers,
        steps: &[1, 2],
    },
    Series {
        key: "policies",
        grows: Grows::Policies,
        steps: &[0, 1],
    },
];

/// `--only` this stands for all of [`SERIES`].
pub(crate) const GROWTH: &str = "growth";

const REQUEST: &str = "GET /small HTTP/1.1\r\nHost: peers.example\r\n";

/// Origins for every series, and what clients show them.
pub(crate) struct Grounds {
    origins: Origins,
    key: SigningKey,
}

impl Grounds {
    /// As many origins as the largest site has.
    pub(crate) fn prepare() -> Result<Grounds> {
        let key = SigningKey::generate(Algorithm::Es256)?.0;
        let keys = Jwks::new(vec![key.public_jwk().clone()])?.to_json();
        let steps = SERIES.iter().flat_map(|series| match series.grows {
            Grows::Endpoints => series.steps,
            _ => &[],
        });
        let most = steps.copied().max().unwrap_or_default();
        let origins = Origins::start(most, keys)?;
        Ok(Grounds { origins, key })
    }

    fn site(&self, grows: Grows, step: usize, setting: &Setting) -> Site {
        let mut site = setting.site.clone();
        let mut endpoints = site.origins.len();
        match grows {
            Grows::Connections => {}
            Grows::Endpoints => endpoints = step,
            Grows::Routes => site.routes = step,
            Grows::Workers => site.workers = step,
            Grows::Policies => site.policies = step > 0,
        }
        site.origins = self.origins.addresses[..endpoints].to_vec();
        site
    }

    /// A token of its own for each connection, and the cookie by which the edge knows it again: sent where
    /// nobody asks for them, too, so that reading them is no part of the difference.
    async fn shown_to(&self, instance: &Instance) -> Result<Vec<Vec<u8>>> {
        let mut requests = Vec::new();
        for number in 0..IN_USE {
            let token = self.token(number)?;
            let start = format!("{REQUEST}Authorization: Bearer {token}\r\n");
            let mut connection = client::plain(instance.plain).await?;
            connection
                .exchange(format!("{start}\r\n").as_bytes())
                .await?;
            let head = String::from_utf8_lossy(connection.head()).into_owned();
            let set = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_cookie = name.eq_ignore_ascii_case("set-cookie");
                is_cookie.then(|| value.split(';').next().unwrap_or_default().trim())
            });
            let cookie = set.context("no cookie is set")?;
            requests.push(format!("{start}Cookie: {cookie}\r\n\r\n").into_bytes());
        }
        Ok(requests)
    }

    fn token(&self, number: usize) -> Result<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let iat = i64::try_from(now.as_secs())?;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let claims = Claims {
            iss: issuer(&self.origins),
            sub: "0190f5a2-6d5e-7c3b-9f7e-2d6b8a1c4e5f".into(),
            aud: vec!["portcullis".into()],
            iat,
            exp: iat + 3600,
            nbf: None,
            jti: portcullis_token::id(id),
            client_id: "web".into(),
            sid: portcullis_token::id([8; 16]),
            roles: vec!["user".into()],
            scope: Some("orders:read".into()),
            tier: None,
            authentication: Authentication::default(),
        };
        sign(&self.key, TokenType::AccessToken, &claims).context("signing a token")
    }
}

fn issuer(origins: &Origins) -> String {
    format!("http://{}", origins.addresses[0])
}

impl Series {
    fn title(&self, step: usize) -> String {
        match self.grows {
            Grows::Connections => format!("{step} open connections"),
            Grows::Endpoints => format!("{step} endpoints"),
            Grows::Routes => format!("{step} routes"),
            Grows::Workers => format!("{step} workers"),
            Grows::Policies if step == 0 => "without policies".to_owned(),
            Grows::Policies => "with affinity, token, header edits and rate limit".to_owned(),
        }
    }

    /// Whether it can be measured so.
    fn is_for(&self, contender: &Contender) -> bool {
        match contender.program {
            Program::Portcullis(engine) => engine == "native",
            Program::Nginx | Program::Haproxy => self.grows != Grows::Policies,
            Program::Caddy | Program::Bare => false,
        }
    }
}

/// A contender at each step of a series.
struct Grown {
    index: usize,
    steps: Vec<Instance>,
}

impl Run<'_> {
    /// Processor time per request at each step of a series.
    pub(crate) async fn growth(&mut self, series: &Series, grounds: &Grounds) -> Result<()> {
        let mut all = Vec::new();
        for (index, contender) in self.results.contenders.clone().into_iter().enumerate() {
            if !series.is_for(&contender) {
                continue;
            }
            let mut steps = Vec::new();
            for &step in series.steps {
                let mut setting = self.setting.clone();
                setting.site = grounds.site(series.grows, step, &setting);
                steps.push(Instance::start(contender, &setting, false).await?);
            }
            all.push(Grown { index, steps });
        }
        ensure!(
            !all.is_empty(),
            "nobody chosen can be measured by {}",
            series.key
        );
        let requests: Arc<[Vec<u8>]> = match (series.grows, all[0].steps.last()) {
            (Grows::Policies, Some(with)) => grounds.shown_to(with).await?.into(),
            _ => Arc::from([format!("{REQUEST}\r\n").into_bytes()]),
        };
        for round in 0..self.extent.rounds {
            self.progress(&format!("round {}: {}", round + 1, series.key));
            self.noise.observe();
            for place in order(all.len(), round) {
                self.steps(series, &all[place], &requests).await?;
            }
        }
        for instance in all.into_iter().flat_map(|grown| grown.steps) {
            instance.leave().await;
        }
        Ok(())
    }

    async fn steps(
        &mut self,
        series: &Series,
        grown: &Grown,
        requests: &Arc<[Vec<u8>]>,
    ) -> Result<()> {
        let mut smallest = None;
        for (&step, instance) in series.steps.iter().zip(&grown.steps) {
            let connections = if series.grows == Grows::Connections {
                step
            } else {
                IN_USE
            };
            let title = series.title(step);
            let cpu = self
                .in_rotation(instance, connections, requests)
                .await
                .with_context(|| format!("{title}, {}", instance.contender.name))?;
            let metric = Metric::CpuMicroseconds;
            self.results.add(metric, &title, grown.index, cpu);
            let base = *smallest.get_or_insert(cpu);
            if step == series.steps[0] {
                continue;
            }
            let mut change = title;
            let _ = write!(change, " / {}", series.title(series.steps[0]));
            self.results
                .add(Metric::Growth, &change, grown.index, cpu / base);
        }
        Ok(())
    }

    /// Microseconds of processor time per request, without opening and closing connections.
    async fn in_rotation(
        &self,
        instance: &Instance,
        connections: usize,
        requests: &Arc<[Vec<u8>]>,
    ) -> Result<f64> {
        let rotation = Rotation::open(instance.plain, connections, requests).await?;
        // Connections to all origins are open then, and what is lazy was done.
        let (rotation, _) = rotation.run(self.extent.duration / 4).await?;
        let work = rotation.run(self.extent.duration);
        let (used, (_, count)) = microseconds_of(instance, work).await?;
        ensure!(count > 0, "nothing was answered");
        Ok(used / count as f64)
    }
}
