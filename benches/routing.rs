//! Cost of finding a route. Target: under 500 ns among 1,000 rules.
//! Never measures the clean-up of the host, which is one scan of a short string.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis_traffic::route::{HostPattern, PathPattern, Router, Rule};

const SIZES: [usize; 2] = [10, 1_000];

/// All rules on one host: paths do all the work.
fn one_host(size: usize) -> Router<usize> {
    let rule = |number: usize| {
        let path = format!("/api/v{}/resource-{number}", number % 4);
        let path = if number.is_multiple_of(5) {
            PathPattern::Exact(path)
        } else {
            PathPattern::Prefix(path)
        };
        Rule {
            host: HostPattern::Exact("api.example.com".into()),
            path,
            target: number,
        }
    };
    let root = Rule {
        host: HostPattern::Any,
        path: PathPattern::Prefix("/".into()),
        target: 0,
    };
    Router::build((1..size).map(rule).chain([root])).expect("rules differ")
}

/// A rule for each host, every tenth a wildcard.
fn many_hosts(size: usize) -> Router<usize> {
    let rule = |number: usize| {
        let name = format!("tenant-{number}.example.com");
        let host = match number % 10 {
            0 => HostPattern::Wildcard(name),
            _ => HostPattern::Exact(name),
        };
        Rule {
            host,
            path: PathPattern::Prefix("/".into()),
            target: number,
        }
    };
    Router::build((0..size).map(rule)).expect("rules differ")
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
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| router.find(black_box(Some(host)), black_box(path)));
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
