//! Cost of finding a route. Target: under 500 ns among 1,000 rules.
//! Never measures the clean-up of the host, which is one scan of a short string.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderName, Method};
use portcullis_traffic::flag::FlagId;
use portcullis_traffic::route::{
    Condition, Conditions, Details, HostPattern, PathPattern, Pattern, Regex, Router, Rule,
    ValuePattern,
};

const SIZES: [usize; 2] = [10, 1_000];

fn rule(host: HostPattern, path: PathPattern, target: usize) -> Rule<usize> {
    let conditions = Conditions::default();
    let pattern = Pattern {
        host,
        path,
        conditions,
    };
    Rule { pattern, target }
}

/// A browser's request: what conditions on header fields look through.
struct Sent(Vec<(HeaderName, &'static str)>);

impl Sent {
    fn by_tenant(tenant: &'static str) -> Self {
        let fields = [
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"),
            ("accept", "text/html,application/xhtml+xml"),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("cookie", "session=4bf92f3577b34da6a3ce929d0e0e4736"),
            ("x-tenant", tenant),
        ];
        Self(
            fields
                .map(|(name, value)| (HeaderName::from_static(name), value))
                .to_vec(),
        )
    }
}

impl Details for Sent {
    fn method(&self) -> Option<&Method> {
        Some(&Method::GET)
    }

    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        let named = self.0.iter().filter(move |field| field.0 == *name);
        named.map(|field| field.1.as_bytes())
    }

    fn query(&self) -> Option<&str> {
        Some("page=2")
    }

    fn source(&self) -> Option<IpAddr> {
        Some([203, 0, 113, 9].into())
    }

    fn has_flag(&self, _: FlagId) -> bool {
        false
    }
}

/// All rules on one host: paths do all the work.
fn one_host(size: usize) -> Router<usize> {
    let numbered = |number: usize| {
        let path = format!("/api/v{}/resource-{number}", number % 4);
        let path = if number.is_multiple_of(5) {
            PathPattern::Exact(path)
        } else {
            PathPattern::Prefix(path)
        };
        rule(HostPattern::Exact("api.example.com".into()), path, number)
    };
    let root = rule(HostPattern::Any, PathPattern::Prefix("/".into()), 0);
    Router::build((1..size).map(numbered).chain([root])).expect("rules differ")
}

/// A rule for each host, every tenth a wildcard.
fn many_hosts(size: usize) -> Router<usize> {
    let numbered = |number: usize| {
        let name = format!("tenant-{number}.example.com");
        let host = match number % 10 {
            0 => HostPattern::Wildcard(name),
            _ => HostPattern::Exact(name),
        };
        rule(host, PathPattern::Prefix("/".into()), number)
    };
    Router::build((0..size).map(numbered)).expect("rules differ")
}

/// A hundred expressions on one host, whatever the size; the others are prefixes.
fn expressions(size: usize) -> Router<usize> {
    let numbered = |number: usize| {
        let path = match number {
            0..100 => {
                let source = format!("/api/v[0-9]+/resource-{number}/[^/]+(/items)?");
                PathPattern::Regex(Regex::new(&source).expect("it is sound"))
            }
            _ => PathPattern::Prefix(format!("/site/{number}")),
        };
        rule(HostPattern::Exact("api.example.com".into()), path, number)
    };
    Router::build((0..size).map(numbered)).expect("rules differ")
}

/// Rules on one path that differ in the value of a header, every tenth in a second one as well.
fn tenants(size: usize) -> Router<usize> {
    let numbered = |number: usize| {
        let tenant = HeaderName::from_static("x-tenant");
        let is = |value: String| ValuePattern::Exact(value);
        let mut values = vec![Condition::header(tenant, is(format!("tenant-{number}")))];
        if number.is_multiple_of(10) {
            let beta = HeaderName::from_static("x-beta");
            values.push(Condition::header(beta, ValuePattern::Present));
        }
        let pattern = Pattern {
            host: HostPattern::Any,
            path: PathPattern::Prefix("/".into()),
            conditions: Conditions::new(Vec::new(), values, Vec::new()),
        };
        Rule {
            pattern,
            target: number,
        }
    };
    Router::build((0..size).map(numbered)).expect("rules differ")
}

fn routing(criterion: &mut Criterion) {
    let api = "api.example.com";
    find(
        criterion,
        "prefix",
        one_host,
        (api, "/api/v3/resource-7/items/42"),
    );
    find(criterion, "exact", one_host, (api, "/api/v1/resource-5"));
    find(
        criterion,
        "fallback",
        one_host,
        ("API.example.com", "/api/v9/resource-7"),
    );
    find(
        criterion,
        "host",
        many_hosts,
        ("tenant-7.example.com", "/index.html"),
    );
    find(
        criterion,
        "wildcard",
        many_hosts,
        ("a.b.tenant-0.example.com", "/index.html"),
    );
    find(
        criterion,
        "expression",
        expressions,
        (api, "/api/v12/resource-77/4711/items"),
    );
    find(criterion, "header", tenants, (api, "/index.html"));
    // What a client may send to be a burden.
    let deep = format!("/api/v3/resource-7{}", "/deeper".repeat(200));
    find(criterion, "deep", one_host, (api, &deep));
    find(criterion, "slashes", one_host, (api, &"/".repeat(8_000)));
    find(
        criterion,
        "labels",
        many_hosts,
        (&"a.".repeat(127), "/index.html"),
    );
}

fn find(
    criterion: &mut Criterion,
    name: &str,
    router: fn(usize) -> Router<usize>,
    (host, path): (&str, &str),
) {
    let mut group = criterion.benchmark_group(format!("route/{name}"));
    for size in SIZES {
        let router = router(size);
        let sent = Sent::by_tenant("tenant-7");
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| router.find(black_box(Some(host)), black_box(path), &sent));
        });
    }
    group.finish();
}

fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group! { name = benches; config = brief(); targets = routing }
criterion_main!(benches);
