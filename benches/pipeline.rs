//! Cost of all decisions about one request that is served at the first attempt: what the edge does
//! beside reading and writing. Prints what an endpoint takes of memory, too. Never opens a socket.

#![expect(clippy::print_stdout, reason = "criterion has no figure for memory")]

use std::fmt::Write as _;
use std::future::Future;
use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use portcullis_edge::config;
use portcullis_edge::connection::{Connection, ListenerContext};
use portcullis_edge::pipeline::{End, Exchange, Fields, Head, HeaderEdit, ResponseStep};
use portcullis_edge::state::Edge;
use portcullis_testkit::process::resident_kilobytes;

type Field = (&'static str, &'static str);

const COMMAND_LINE: &[Field] = &[
    ("Host", "127.0.0.1:8080"),
    ("User-Agent", "curl/8.5.0"),
    ("Accept", "*/*"),
];

const BROWSER: &[Field] = &[
    ("Host", "www.example.com"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://www.example.com/start"),
    ("Connection", "keep-alive"),
    (
        "Cookie",
        "session=4bf92f3577b34da6a3ce929d0e0e4736; theme=dark",
    ),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Priority", "u=0, i"),
];

const COOKIE: Field = ("Cookie", "lang=en");

/// Not signed by anybody; its payload is that of a usual access token.
const TOKEN: &str = "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20iLCJzdWIiOiI0YmY5MmYzNTc3YjM0ZGE2IiwiYXVkIjpbImFwcCJdLCJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMDkwMCwianRpIjoiMDFKRjAiLCJzY29wZSI6InJlYWQgd3JpdGUiLCJ0ZW5hbnQiOiJ0ZW5hbnQtNDcxMSJ9.c2lnbmF0dXJl";

const ANSWER: &[Field] = &[
    ("Content-Type", "application/json"),
    ("Content-Length", "27"),
    ("Date", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ("Server", "origin"),
];

/// Fields as an engine of its own would keep them: in a row, as sent.
struct Sent(&'static [Field]);

impl Fields for Sent {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.all(name).next()
    }

    fn all(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        let name = name.as_str();
        let found = self
            .0
            .iter()
            .filter(|field| field.0.eq_ignore_ascii_case(name));
        found.map(|field| field.1.as_bytes())
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|field| field.0.as_bytes())
    }
}

struct Get(Sent);

impl Head for Get {
    type Fields = Sent;

    fn method(&self) -> &Method {
        &Method::GET
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn path(&self) -> &str {
        "/api/v1/users/4711"
    }

    fn query(&self) -> Option<&str> {
        None
    }

    fn authority(&self) -> Option<&str> {
        self.0.0.first().map(|host| host.1)
    }

    fn fields(&self) -> &Sent {
        &self.0
    }
}

/// An edge with three endpoints, and a connection that it has accepted.
struct Bench {
    edge: Arc<Edge>,
    connection: Arc<Connection>,
}

impl Bench {
    fn new(access_log: &str) -> Self {
        Self::with(access_log, "off")
    }

    fn with(access_log: &str, affinity: &str) -> Self {
        let mut file = "listeners: [{ address: '127.0.0.1:8080' }]\n".to_owned();
        write!(file, "access_log: '{access_log}'\n\
                clusters: {{ app: {{ endpoints: ['127.0.0.1:4001', '127.0.0.1:4002', '127.0.0.1:4003'], affinity: {affinity} }} }}\n\
                routes: [{{ cluster: app }}, {{ path: /api, cluster: app }}]\n").expect("a string takes everything");
        let config = config::parse("edge.yaml", &file)
            .expect("a sound file")
            .config;
        let edge = Edge::build(&config).expect("nothing here can fail");
        let listener = ListenerContext::new(&config.listeners[0], 0, 8080, &edge.metrics);
        let client: SocketAddr = ([203, 0, 113, 9], 5000).into();
        let local = config.listeners[0].address;
        let connection =
            Connection::new(1, Arc::new(listener), client, local, None, Instant::now());
        Self {
            edge: Arc::new(edge),
            connection: Arc::new(connection),
        }
    }

    /// What an engine calls for one request. Returns the affinity cookie if one is set. A function of
    /// its own for profilers.
    #[inline(never)]
    fn serve(&self, head: &Get, answer: &Sent) -> Option<HeaderValue> {
        let now = Instant::now();
        let mut exchange = Exchange::new(Arc::clone(&self.edge), Arc::clone(&self.connection), now);
        exchange.on_request(head).expect("a sound request");
        let attempt = at_once(exchange.on_attempt(now));
        black_box(attempt.expect("an endpoint"));
        black_box(exchange.on_forward(head));
        let step = exchange.on_response_head(StatusCode::OK, answer, true, now);
        let ResponseStep::Deliver(edits) = black_box(step) else {
            panic!("a sound answer")
        };
        let end = End {
            status: Some(StatusCode::OK),
            response_bytes: 27,
            failure: None,
        };
        exchange.on_end(end, now);
        edits.into_iter().find_map(|edit| match edit {
            HeaderEdit::Append(_, cookie) => Some(cookie),
            _ => None,
        })
    }
}

/// The output of a future that has nothing to wait for.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("an endpoint is free"),
    }
}

fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    let answer = Sent(ANSWER);
    for (client, fields) in [("command_line", COMMAND_LINE), ("browser", BROWSER)] {
        let head = Get(Sent(fields));
        for (log, access_log) in [("log_off", "off"), ("log_on", "/dev/null")] {
            let bench = Bench::new(access_log);
            group.bench_function(format!("{client}/{log}"), |bencher| {
                bencher.iter(|| bench.serve(black_box(&head), &answer));
            });
        }
    }
    group.finish();
}

/// A browser that comes again: without affinity, by its cookie, by a header and by a claim.
fn affinity(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("affinity");
    let answer = Sent(ANSWER);
    for (way, keys, value) in [
        ("off", "off", COOKIE),
        ("cookie", "{}", COOKIE),
        (
            "header",
            "{ by: 'header:X-Tenant' }",
            ("X-Tenant", "tenant-4711"),
        ),
        ("claim", "{ by: 'claim:tenant' }", ("Authorization", TOKEN)),
    ] {
        let bench = Bench::with("off", keys);
        let mut fields = BROWSER.to_vec();
        fields.push(value);
        let newcomer = Get(Sent(fields.clone().leak()));
        if let Some(cookie) = bench.serve(&newcomer, &answer) {
            let text = cookie.to_str().expect("plain text").to_owned();
            let (pair, _) = text.split_once(';').expect("attributes");
            fields.pop();
            fields.push(("Cookie", format!("lang=en; {pair}").leak()));
        }
        let head = Get(Sent(fields.leak()));
        assert_eq!(bench.serve(&head, &answer), None, "known by now");
        group.bench_function(way, |bencher| {
            bencher.iter(|| bench.serve(black_box(&head), &answer));
        });
    }
    group.finish();
}

/// What one of 1,000 endpoints takes that is checked, ejected and counted in metrics. Connections to
/// it come on top.
fn memory(_: &mut Criterion) {
    let [few, many] = [1, 1_000].map(kilobytes_of_edges);
    let kilobytes = (many - few) / 999.0;
    println!("memory of one of 1,000 endpoints: {kilobytes:.1} KB (target: under 16 KB)");
}

/// Resident memory of an edge with so many endpoints in one cluster, as a mean of several.
fn kilobytes_of_edges(endpoints: usize) -> f64 {
    const EDGES: usize = 8;
    let resident = || resident_kilobytes(std::process::id()).unwrap_or_default() as f64;
    let mut addresses = String::new();
    for number in 0..endpoints {
        write!(addresses, "'10.0.{}.{}:80', ", number / 250, number % 250)
            .expect("a string takes everything");
    }
    let file = format!(
        "listeners: [{{ address: '127.0.0.1:8080' }}]\n\
         clusters: {{ app: {{ endpoints: [{addresses}], health: {{ path: /health }} }} }}\n\
         routes: [{{ cluster: app }}]\n"
    );
    let config = config::parse("edge.yaml", &file)
        .expect("a sound file")
        .config;
    let build = || Edge::build(&config).expect("nothing here can fail");
    let _first = build();
    let before = resident();
    let edges: Vec<_> = (0..EDGES).map(|_| build()).collect();
    let after = resident();
    (after - before) / edges.len() as f64
}

criterion_group!(benches, memory, exchange, affinity);
criterion_main!(benches);
