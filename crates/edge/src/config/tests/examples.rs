//! The example files in the repository, parsed as a user would get them.

use portcullis_testkit::Authority;

use super::*;

fn example(name: &str, variables: &dyn Fn(&str) -> Option<String>) -> Parsed {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let surroundings = Surroundings {
        variables,
        directory: path.parent().unwrap(),
        resolve: &resolve,
        now: SystemTime::now(),
    };
    parse_in(&Source::new(name, text), &surroundings).unwrap_or_else(|errors| panic!("{errors}"))
}

fn addresses(config: &Config) -> Vec<String> {
    config.clusters[0]
        .endpoints
        .iter()
        .map(|endpoint| endpoint.address.to_string())
        .collect()
}

#[test]
fn quickstart_has_ten_lines_and_no_warnings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/quickstart/edge.yaml");
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 10);
    let Parsed {
        config, warnings, ..
    } = example("quickstart/edge.yaml", &|_| None);
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(addresses(&config), ["127.0.0.1:4001", "127.0.0.1:4002"]);
}

#[test]
fn quickstart_takes_addresses_from_variables() {
    let variables = |name: &str| match name {
        "LISTEN" => Some("127.0.0.1:1".to_owned()),
        "APP_1" => Some("127.0.0.1:2".to_owned()),
        "APP_2" => Some("127.0.0.1:3".to_owned()),
        "ADMIN" => Some("127.0.0.1:4".to_owned()),
        _ => None,
    };
    let config = example("quickstart/edge.yaml", &variables).config;
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:1");
    assert_eq!(addresses(&config), ["127.0.0.1:2", "127.0.0.1:3"]);
    assert_eq!(
        config.admin.unwrap().address,
        "127.0.0.1:4".parse().unwrap()
    );
}

#[test]
fn nginx_parity_says_what_the_nginx_file_says() {
    let authority = Authority::new();
    authority.issue("auth", &["auth.yourdomain.com"]);
    let directory = authority.directory().display().to_string();
    let variables = |name: &str| (name == "CERT_DIR").then(|| directory.clone());
    let config = example("nginx-parity/edge.yaml", &variables).config;

    let listener = &config.listeners[0];
    assert_eq!(listener.address.to_string(), "0.0.0.0:443");
    let certificate = &listener.tls.as_ref().unwrap().certificates[0];
    assert_eq!(
        certificate.names,
        [NamePattern::Exact("auth.yourdomain.com".to_owned())]
    );

    let cluster = &config.clusters[0];
    let minute = Duration::from_secs(60);
    assert_eq!(cluster.balance, Balance::LeastConn);
    assert_eq!(
        addresses(&config),
        ["10.0.1.10:8000", "10.0.1.11:8000", "10.0.1.12:8000"]
    );
    let ejection = cluster.ejection.as_ref().unwrap();
    assert_eq!((ejection.failures.get(), ejection.window), (3, minute / 2));
    assert_eq!(ejection.duration, minute / 2);
    let timeouts = &cluster.timeouts;
    assert_eq!(
        (timeouts.connect, timeouts.read, timeouts.write),
        (minute, minute, minute)
    );

    let host = HostPattern::Exact("auth.yourdomain.com".to_owned());
    assert!(config.routes.iter().all(|route| route.pattern.host == host));
    let health = config
        .routes
        .iter()
        .find(|route| !route.access_log)
        .unwrap();
    assert_eq!(
        health.pattern.path,
        PathPattern::Prefix("/health".to_owned())
    );
}
