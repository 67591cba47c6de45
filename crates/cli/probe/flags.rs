//! The command line of `portcullis probe`, and the plan it means. Never takes a password: that would show
//! in lists of processes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, value_parser};
use http::HeaderName;
use portcullis_ops::Secret;
use portcullis_probe::{Account, Check, Disturbance, Plan, Target};

const HELP: &str = "\
Examples:
  portcullis probe https://auth.example.com
  portcullis probe http://127.0.0.1:8080 --health-only
  portcullis probe http://127.0.0.1:8080 --load-distribution --instances 3
  portcullis probe https://localhost:8443 --tls --cacert portcullis-data/cert.pem
  portcullis probe http://127.0.0.1:8080 --failover --watch 30 --drain-command 'kill -TERM 4242'
  PORTCULLIS_PROBE_PASSWORD=... portcullis probe http://127.0.0.1:8080 \\
      --revocation --user ada@example.com
  portcullis probe --json https://auth.example.com | jq '.checks[] | select(.verdict == \"fail\")'

Without a wish everything is tried that disturbs nobody, and what cannot be tried is skipped. What is
asked for by its flag must be possible: where it cannot be tried, it has failed.

Exit codes:
  0  no check failed; there may be something to look at
  1  a check failed
  2  wrong usage of the command line, or nobody answers";

/// The environment variable with the password of `--user`.
const PASSWORD: &str = "PORTCULLIS_PROBE_PASSWORD";

/// Try a running deployment as a stranger would
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Where clients reach the deployment; a path in it is the one that is asked
    url: Target,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    measure: Measure,
    #[command(flatten)]
    account: AccountFlags,
    #[command(flatten)]
    trust: TrustFlags,
    /// Run by the shell once the watch knows who serves: it makes an endpoint leave
    #[arg(long, value_name = "LINE", requires = "failover")]
    pub(super) drain_command: Option<String>,
    /// Print one JSON object with verdicts and figures
    #[arg(long)]
    pub(super) json: bool,
}

/// Which checks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Checks (all that disturb nobody, unless some are named)")]
struct Wishes {
    /// Health paths answer
    #[arg(long)]
    health_only: bool,
    /// Requests are spread as the weights say
    #[arg(long)]
    load_distribution: bool,
    /// A cookie keeps a client with its endpoint, is opaque, and worth nothing when forged
    #[arg(long)]
    affinity: bool,
    /// Endpoints learn who asks, no false claim reaches them (with --echo-path), and answers and
    /// errors show nothing of the inside
    #[arg(long)]
    headers: bool,
    /// A logout ends the token on every instance (with --user)
    #[arg(long)]
    revocation: bool,
    /// Certificate, versions, redirects
    #[arg(long)]
    tls: bool,
    /// Watch while an endpoint leaves: nobody may notice, and bound clients get another one
    #[arg(long)]
    failover: bool,
    /// Guess passwords of nobody until all instances refuse; shuts this address out for a while
    #[arg(long)]
    limits: bool,
}

/// How much, and by what measure.
#[derive(Debug, Args)]
#[command(next_help_heading = "Measures")]
struct Measure {
    /// Requests that measure the distribution
    #[arg(long, value_name = "NUMBER", default_value_t = Plan::REQUESTS,
        value_parser = value_parser!(u32).range(20..=i64::from(Plan::REQUESTS_MAX)))]
    requests: u32,
    /// How many instances of equal weight there must be
    #[arg(long, value_name = "NUMBER", conflicts_with = "weights",
        value_parser = value_parser!(u32).range(1..=1_000))]
    instances: Option<u32>,
    /// Weights of all instances, in any order: 3,1,1
    #[arg(long, value_name = "LIST", value_delimiter = ',', num_args = 1..=1_000,
        value_parser = value_parser!(u32).range(0..=1_000_000))]
    weights: Option<Vec<u32>>,
    /// How far a share may be from its weight whatever chance says; more for balancers that prefer
    /// fast endpoints
    #[arg(long, value_name = "PERCENT", default_value_t = Plan::TOLERANCE_PERCENT)]
    tolerance: u32,
    /// A path that must answer 200; may be given several times
    #[arg(long, value_name = "PATH", value_parser = path)]
    health_path: Vec<String>,
    /// A path that answers with the headers of the request as JSON
    #[arg(long, value_name = "PATH", value_parser = path)]
    echo_path: Option<String>,
    /// The affinity cookie, where it is not _portcullis_affinity
    #[arg(long, value_name = "NAME")]
    affinity_cookie: Option<String>,
    /// The field that names the instance, where it is neither X-Served-By nor X-Instance-Id
    #[arg(long, value_name = "NAME")]
    instance_header: Option<HeaderName>,
    /// How long to watch while an endpoint leaves
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
        value_parser = value_parser!(u32).range(1..=3_600))]
    watch: u32,
    /// Requests a second during the watch
    #[arg(long, value_name = "NUMBER", default_value_t = 50,
        value_parser = value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// How long one request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5,
        value_parser = value_parser!(u32).range(1..=60))]
    timeout: u32,
}

/// Somebody to log in as.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging in")]
struct AccountFlags {
    /// E-mail address of an account for this purpose; the password is in PORTCULLIS_PROBE_PASSWORD and
    /// goes to the deployment in the clear where the URL begins with http://
    #[arg(long, value_name = "EMAIL")]
    user: Option<String>,
    /// Read the password from the first line of a file instead
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Takes e-mail address and password as JSON and answers with access_token
    #[arg(long, value_name = "PATH", default_value = "/api/v1/auth/login", value_parser = path)]
    login_path: String,
    /// Says whether a bearer token is good
    #[arg(long, value_name = "PATH", default_value = "/api/v1/auth/verify", value_parser = path)]
    verify_path: String,
    /// Ends the session of a bearer token
    #[arg(long, value_name = "PATH", default_value = "/api/v1/auth/logout", value_parser = path)]
    logout_path: String,
    /// A logout must have reached every instance by then
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000,
        value_parser = value_parser!(u32).range(0..=60_000))]
    logout_bound: u32,
}

/// Whom to believe.
#[derive(Debug, Args)]
#[command(next_help_heading = "Trust")]
struct TrustFlags {
    /// PEM file with the authorities to believe instead of the system's
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// A bad certificate is only something to look at; no password is sent there all the same
    #[arg(long)]
    insecure: bool,
}

impl Arguments {
    /// What they ask for.
    pub(super) fn plan(&self, variable: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Plan> {
        let mut plan = Plan::new(self.url.clone());
        plan.asked_for = self.wishes.checks();
        let measure = &self.measure;
        plan.requests = measure.requests;
        let equal = |number: u32| vec![1; number as usize];
        plan.weights = measure.weights.clone().or(measure.instances.map(equal));
        plan.tolerance_percent = measure.tolerance;
        plan.health_paths.clone_from(&measure.health_path);
        plan.echo_path.clone_from(&measure.echo_path);
        plan.affinity_cookie.clone_from(&measure.affinity_cookie);
        plan.instance_header.clone_from(&measure.instance_header);
        plan.disturbance = Disturbance {
            watch: Duration::from_secs(measure.watch.into()),
            rate: measure.rate,
        };
        plan.timeout = Duration::from_secs(measure.timeout.into());
        plan.account = self.account.account(variable)?;
        plan.auth_paths.login.clone_from(&self.account.login_path);
        plan.auth_paths.verify.clone_from(&self.account.verify_path);
        plan.auth_paths.logout.clone_from(&self.account.logout_path);
        plan.logout_bound = Duration::from_millis(self.account.logout_bound.into());
        plan.trust.authorities.clone_from(&self.trust.cacert);
        plan.trust.is_insecure = self.trust.insecure;
        Ok(plan)
    }
}

impl Wishes {
    fn checks(&self) -> Vec<Check> {
        let wishes: [(bool, &[Check]); 8] = [
            (self.health_only, &[Check::Health]),
            (self.load_distribution, &[Check::Distribution]),
            (self.affinity, &[Check::Affinity]),
            (self.headers, &[Check::Forwarding, Check::Errors]),
            (self.revocation, &[Check::Logout]),
            (self.tls, &[Check::Tls]),
            (self.failover, &[Check::Failover]),
            (self.limits, &[Check::Limits]),
        ];
        let wanted = wishes.into_iter().filter(|(is_wanted, _)| *is_wanted);
        wanted.flat_map(|(_, checks)| checks).copied().collect()
    }
}

impl AccountFlags {
    fn account(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Option<Account>> {
        let Some(email) = self.user.clone() else {
            return Ok(None);
        };
        let password = match &self.password_file {
            Some(file) => std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the password from {}", file.display()))?,
            None => variable(PASSWORD).with_context(|| {
                format!("--user needs a password: put it into {PASSWORD} or --password-file")
            })?,
        };
        let password = Secret::new(password);
        let line = password.expose().lines().next().unwrap_or_default();
        if line.is_empty() {
            bail!("the password is empty");
        }
        Ok(Some(Account {
            email,
            password: Secret::new(line.to_owned()),
        }))
    }
}

fn path(text: &str) -> Result<String, &'static str> {
    let is_path = text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok();
    is_path
        .then(|| text.to_owned())
        .ok_or("a path begins with / and holds no spaces")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn plan(line: &str) -> anyhow::Result<Plan> {
        let words = ["probe", "http://127.0.0.1:8080"].into_iter();
        let line = Line::try_parse_from(words.chain(line.split_ascii_whitespace()))?;
        let password = |name: &str| (name == PASSWORD).then(|| "secret".to_owned());
        line.arguments.plan(&password)
    }

    #[test]
    fn every_flag_reaches_the_plan() {
        let plan = plan(
            "--weights 3,1,0 --tolerance 80 --requests 500 --health-path /a --health-path /b \
             --echo-path /echo --affinity-cookie lb --instance-header x-node --watch 7 --rate 9 \
             --timeout 3 --user ada@example.com --login-path /in --verify-path /ask \
             --logout-path /out --logout-bound 250 --cacert ca.pem --insecure",
        )
        .unwrap();
        assert_eq!(plan.weights, Some(vec![3, 1, 0]));
        assert_eq!((plan.tolerance_percent, plan.requests), (80, 500));
        assert_eq!(plan.health_paths, ["/a", "/b"]);
        assert_eq!(plan.echo_path.as_deref(), Some("/echo"));
        assert_eq!(plan.affinity_cookie.as_deref(), Some("lb"));
        assert_eq!(plan.instance_header.unwrap().as_str(), "x-node");
        let seconds = |duration: Duration| duration.as_secs_f64();
        assert_eq!(seconds(plan.disturbance.watch), 7.0);
        assert_eq!((plan.disturbance.rate, seconds(plan.timeout)), (9, 3.0));
        let account = plan.account.unwrap();
        assert_eq!(account.email, "ada@example.com");
        assert_eq!(account.password.expose(), "secret");
        let paths = plan.auth_paths;
        assert_eq!(
            [&*paths.login, &paths.verify, &paths.logout],
            ["/in", "/ask", "/out"]
        );
        assert_eq!(seconds(plan.logout_bound), 0.25);
        assert_eq!(plan.trust.authorities, Some(PathBuf::from("ca.pem")));
        assert!(plan.trust.is_insecure);
    }

    #[test]
    fn wishes_name_checks_and_none_means_all() {
        assert!(plan("").unwrap().asked_for.is_empty());
        let asked = |line| plan(line).unwrap().asked_for;
        assert_eq!(asked("--headers"), [Check::Forwarding, Check::Errors]);
        assert_eq!(
            asked("--tls --health-only --limits --failover"),
            [Check::Health, Check::Tls, Check::Failover, Check::Limits]
        );
        assert_eq!(asked("--instances 3"), []);
        assert_eq!(plan("--instances 3").unwrap().weights, Some(vec![1; 3]));
        assert!(plan("--instances 3 --weights 1,1").is_err());
    }
}
