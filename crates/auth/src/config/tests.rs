//! Settings from the environment: defaults, mistakes, and what production refuses.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_token::Algorithm;

use super::*;

const KEY: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
const SALT: &str = "pZ7vQ2mX9cL4bN8tR1wK6yH3jF5dS0gA-uE";

fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let map: HashMap<String, String> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::from_env(|name| map.get(name).cloned())
}

fn faulty(pairs: &[(&str, &str)]) -> Vec<&'static str> {
    from(pairs)
        .expect_err("these settings are wrong")
        .0
        .iter()
        .map(|e| e.variable)
        .collect()
}

fn production<'a>(change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut pairs = vec![
        ("APP_ENV", "production"),
        ("DATABASE_URL", "sqlite:///var/lib/portcullis/auth.db"),
        ("ISSUER_URL", "https://auth.acme.test"),
        ("SECURITY_SALT", SALT),
        ("KEY_ENCRYPTION_KEY", KEY),
    ];
    pairs.retain(|(name, _)| !change.iter().any(|(changed, _)| changed == name));
    pairs.extend_from_slice(change);
    pairs
}

#[test]
fn an_empty_environment_gives_documented_defaults() {
    let config = from(&[]).unwrap();
    assert_eq!(config.instance.address.to_string(), "127.0.0.1:8000");
    assert_eq!(config.instance.id, "auth-8000");
    assert_eq!(config.environment.as_str(), "development");
    assert_eq!(config.instance.name, "Auth Server");
    assert_eq!(config.database.file(), Some(Path::new("auth.db")));
    let SharedState::File(shared) = &config.shared_state else {
        panic!("Redis is never the default");
    };
    assert_eq!(shared, &PathBuf::from("shared.db"));
    assert_eq!(config.tokens.issuer, "http://localhost:8000");
    assert_eq!(config.tokens.audience, config.tokens.issuer);
    assert_eq!(config.tokens.access_ttl, Duration::from_secs(600));
    assert_eq!(config.instance.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.instance.drain_delay, Duration::from_secs(15));
    assert!(config.instance.trusted_proxies.is_empty() && config.passwords.pepper.is_none());
    assert!(matches!(
        config.keys.encryption_key,
        KeySource::FileOrCreate(_)
    ));
}

#[test]
fn empty_values_count_as_not_set() {
    assert_eq!(
        from(&[("PORT", ""), ("REDIS_URL", " ")])
            .unwrap()
            .instance
            .address
            .port(),
        8000
    );
}

#[test]
fn every_variable_that_is_read_is_in_the_table() {
    let read = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let _ = Config::from_env(|name| {
        read.borrow_mut().insert(name.to_owned());
        None
    });
    let documented: Vec<&str> = variables().map(|variable| variable.name).collect();
    for name in read.into_inner() {
        assert!(
            documented.contains(&name.as_str()),
            "{name} is read but not documented"
        );
    }
}

#[test]
fn all_mistakes_are_reported_at_once_with_variable_and_hint() {
    let errors = from(&[
        ("HOST", "everywhere"),
        ("PORT", "70000"),
        ("INSTANCE_ID", "a\r\nb"),
        (
            "DATABASE_URL",
            "postgres://app:hunter2@db/auth?sslmode=hunter3",
        ),
        ("SHARED_STATE_URL", "redis://cache"),
        ("ACCESS_TOKEN_TTL", "4000"),
        ("HASH_WORKERS", "0"),
        ("TRUST_PROXY", "10.0.0.0/8,nonsense"),
        ("LOG_LEVEL", "loud"),
        ("JWT_ALGORITHM", "HS256"),
        ("AUTH_RATE_LIMIT_ENABLED", "maybe"),
    ])
    .expect_err("eleven mistakes");
    assert_eq!(errors.0.len(), 11, "{errors}");
    let text = errors.to_string();
    assert!(
        text.contains("PORT: \"70000\" is not a whole number from 1 to 65535"),
        "{text}"
    );
    assert!(errors.0.iter().all(|error| !error.hint.is_empty()));
    assert!(
        !text.contains("hunter"),
        "a database password is never repeated: {text}"
    );
}

#[test]
fn an_instance_says_where_it_is_reached_and_how_often() {
    let config = from(&[
        ("ADVERTISED_ADDRESS", "10.0.1.7:8000"),
        ("HEARTBEAT_INTERVAL", "300"),
    ])
    .unwrap();
    assert_eq!(config.instance.advertised, "10.0.1.7:8000".parse().ok());
    assert_eq!(config.instance.heartbeat, Duration::from_millis(300));
    for bad in [
        "10.0.1.7",
        "0.0.0.0:8000",
        "10.0.1.7:0",
        "auth.internal:8000",
    ] {
        assert_eq!(
            faulty(&[("ADVERTISED_ADDRESS", bad)]),
            ["ADVERTISED_ADDRESS"]
        );
    }
    for bad in ["0", "99", "60001", "soon"] {
        assert_eq!(
            faulty(&[("HEARTBEAT_INTERVAL", bad)]),
            ["HEARTBEAT_INTERVAL"]
        );
    }
}

#[test]
fn what_goes_on_without_shared_state_is_chosen() {
    let default = from(&[]).unwrap();
    assert_eq!(default.degraded.revocations, RevocationFallback::Store);
    assert!(default.degraded.allows_logins && default.warnings.is_empty());
    let strict = [("REVOCATION_DEGRADED", "deny"), ("LOGIN_DEGRADED", "deny")];
    let strict = from(&strict).unwrap().degraded;
    assert_eq!(strict.revocations, RevocationFallback::Deny);
    assert!(!strict.allows_logins);
    let lax = from(&[("REVOCATION_DEGRADED", "allow")]).unwrap();
    assert_eq!(lax.degraded.revocations, RevocationFallback::Allow);
    assert_eq!(lax.warnings.len(), 1);
    let wrong = [("REVOCATION_DEGRADED", "pg"), ("LOGIN_DEGRADED", "allow")];
    assert_eq!(faulty(&wrong), wrong.map(|(name, _)| name));
}

#[test]
fn rates_are_set_one_by_one_and_switched_off_together() {
    let rates = |pairs: &[(&str, &str)]| {
        let rates = from(pairs).unwrap().limits.rates;
        let all = [
            rates.logins,
            rates.registrations,
            rates.refreshes,
            rates.checks,
            rates.mails,
        ];
        all.map(|rate| rate.map_or(0, u32::from))
    };
    assert_eq!(rates(&[]), [600, 60, 6000, 6000, 30]);
    let set = [
        ("AUTH_RATE_LIMIT_LOGIN", "7"),
        ("AUTH_RATE_LIMIT_REGISTER", "8"),
        ("AUTH_RATE_LIMIT_REFRESH", "0"),
        ("AUTH_RATE_LIMIT_CHECK", "9"),
        ("AUTH_RATE_LIMIT_MAIL", "10"),
    ];
    assert_eq!(rates(&set), [7, 8, 0, 9, 10]);
    assert_eq!(rates(&[("AUTH_RATE_LIMIT_ENABLED", "false")]), [0; 5]);
    let wrong = set.map(|(name, _)| (name, "-1"));
    assert_eq!(faulty(&wrong), wrong.map(|(name, _)| name));
}

#[test]
fn room_for_requests_is_set_and_switched_off() {
    let room =
        |pairs: &[(&str, &str)]| from(pairs).unwrap().limits.in_flight.map_or(0, usize::from);
    assert_eq!(room(&[]), 2000);
    assert_eq!(room(&[("MAX_REQUESTS_IN_FLIGHT", "7")]), 7);
    assert_eq!(room(&[("FF_ENABLE_PRIORITIZED_RATE_LIMIT", "false")]), 0);
    let wrong = [
        ("FF_ENABLE_PRIORITIZED_RATE_LIMIT", "no"),
        ("MAX_REQUESTS_IN_FLIGHT", "0"),
    ];
    assert_eq!(faulty(&wrong), wrong.map(|(name, _)| name));
}

#[test]
fn enhanced_pooling_is_switched_off_or_on_for_some_instances() {
    let most = |pairs: &[(&str, &str)]| {
        let database = from(pairs).unwrap().database;
        database.pool_size.get() + database.max_overflow
    };
    const FLAG: &str = "FF_ENABLE_ENHANCED_POOLING";
    let sizes = [("DATABASE_POOL_SIZE", "3"), ("DATABASE_MAX_OVERFLOW", "5")];
    let with = |more: &[(&'static str, &'static str)]| most(&[&sizes[..], more].concat());
    assert_eq!(with(&[]), 8);
    assert_eq!(with(&[(FLAG, "false")]), 3);
    assert_eq!(with(&[(FLAG, "0%")]), 3);
    assert_eq!(with(&[(FLAG, "100%")]), 8);
    let ids = (0..100).map(|number| format!("auth-{number}"));
    let having = ids.filter(|id| {
        let pairs = [
            sizes[0],
            sizes[1],
            (FLAG, "10%"),
            ("INSTANCE_ID", id.as_str()),
        ];
        most(&pairs) == 8
    });
    assert!((2..25).contains(&having.count()));
    for wrong in ["10", "perhaps", "101%", "%"] {
        assert_eq!(faulty(&[(FLAG, wrong)]), [FLAG], "{wrong}");
    }
}

#[test]
fn an_audit_trail_that_is_switched_off_is_warned_of() {
    let off = from(&[("FF_ENABLE_AUDIT_TRAIL", "false")]).unwrap();
    assert!(!off.audit.is_written && !off.flags.audit_trail);
    assert!(
        off.warnings
            .iter()
            .any(|one| one.contains("FF_ENABLE_AUDIT_TRAIL"))
    );
    assert!(from(&[]).unwrap().audit.is_written);
}

#[test]
fn the_audit_log_keeps_as_much_of_addresses_as_is_said() {
    use crate::domain::AddressPolicy;
    const NAME: &str = "AUDIT_CLIENT_ADDRESS";
    let kept = |pairs: &[(&str, &str)]| from(pairs).unwrap().audit.addresses;
    assert_eq!(kept(&[]), AddressPolicy::Truncated);
    assert_eq!(kept(&[(NAME, "full")]), AddressPolicy::Full);
    assert_eq!(kept(&[(NAME, " none ")]), AddressPolicy::None);
    assert_eq!(kept(&[(NAME, "truncated")]), AddressPolicy::Truncated);
    for wrong in ["half", "Full", "true", "/24"] {
        assert_eq!(faulty(&[(NAME, wrong)]), [NAME], "{wrong}");
    }
}

#[test]
fn the_audit_log_is_kept_for_a_year_or_as_is_said() {
    const NAME: &str = "AUDIT_RETENTION_DAYS";
    let days = |pairs: &[(&str, &str)]| {
        let kept = from(pairs).unwrap().audit.kept;
        kept.map(|kept| kept.as_secs() / 86_400)
    };
    assert_eq!(days(&[]), Some(365));
    assert_eq!(days(&[(NAME, "30")]), Some(30));
    assert_eq!(days(&[(NAME, "0")]), None);
    for wrong in ["-1", "a year", "3651", "1.5"] {
        assert_eq!(faulty(&[(NAME, wrong)]), [NAME], "{wrong}");
    }
}

fn redis(pairs: &[(&str, &str)]) -> crate::shared::RedisOptions {
    match from(pairs).unwrap().shared_state {
        SharedState::Redis(options) => options,
        SharedState::File(file) => panic!("a file, {}", file.display()),
    }
}

#[test]
fn redis_is_named_by_a_url_or_by_its_parts() {
    let whole = redis(&[("REDIS_URL", "redis://:sesame@cache:7000/3")]);
    let parts = redis(&[
        ("REDIS_HOST", "cache"),
        ("REDIS_PORT", "7000"),
        ("REDIS_DB", "3"),
        ("REDIS_PASSWORD", "sesame"),
    ]);
    for options in [&whole, &parts] {
        assert_eq!(options.place(), "redis://cache:7000/3");
        assert_eq!(options.password.as_ref().unwrap().expose(), "sesame");
        assert_eq!(options.pool_size.get(), 20);
    }
    let apart = [
        ("REDIS_URL", "rediss://cache"),
        ("REDIS_PASSWORD", "sesame"),
        ("REDIS_CA_FILE", "/etc/ca.pem"),
        ("REDIS_POOL_SIZE", "5"),
    ];
    let options = redis(&apart);
    assert_eq!(options.password.as_ref().unwrap().expose(), "sesame");
    assert_eq!(options.pool_size.get(), 5);
    let trust = crate::shared::redis::RedisTrust::Authorities("/etc/ca.pem".into());
    assert_eq!(options.tls, Some(trust));
}

#[test]
fn a_redis_is_named_by_sentinels_that_know_it() {
    let options = redis(&[
        ("REDIS_SENTINELS", "s-1:5000,s-2"),
        ("REDIS_SENTINEL_MASTER", "main"),
        ("REDIS_SENTINEL_PASSWORD", "hunter2"),
        ("REDIS_PASSWORD", "hunter3"),
        ("REDIS_DB", "3"),
    ]);
    assert_eq!(
        options.place(),
        "redis-sentinel://s-1:5000,s-2:26379/main/3"
    );
    assert_eq!(options.password.as_ref().unwrap().expose(), "hunter3");
    let sentinels = options.sentinels.clone().unwrap();
    assert_eq!(sentinels.password.unwrap().expose(), "hunter2");
    assert!(!format!("{options:?}").contains("hunter"));
    let unnamed = redis(&[("REDIS_SENTINELS", "s-1")]);
    assert_eq!(unnamed.sentinels.unwrap().name, "mymaster");
    for (pairs, variable) in [
        (&[("REDIS_SENTINELS", "s-1:x")][..], "REDIS_SENTINELS"),
        (
            &[("REDIS_SENTINELS", "s"), ("REDIS_URL", "redis://a")],
            "REDIS_SENTINELS",
        ),
        (
            &[("REDIS_SENTINELS", "s"), ("REDIS_HOST", "a")],
            "REDIS_SENTINELS",
        ),
        (
            &[("REDIS_SENTINELS", "s"), ("REDIS_CA_FILE", "/ca.pem")],
            "REDIS_CA_FILE",
        ),
    ] {
        assert_eq!(faulty(pairs), [variable]);
    }
}

#[test]
fn a_cluster_is_named_by_some_of_its_nodes() {
    let options = redis(&[
        ("REDIS_CLUSTER", "n-1:7000, n-2"),
        ("REDIS_PASSWORD", "hunter2"),
        ("REDIS_POOL_SIZE", "40"),
    ]);
    assert_eq!(options.place(), "redis-cluster://n-1:7000,n-2:6379");
    assert_eq!(options.password.as_ref().unwrap().expose(), "hunter2");
    assert_eq!(options.pool_size.get(), 40);
    assert!(!format!("{options:?}").contains("hunter"));
    for (pairs, variable) in [
        (
            &[("REDIS_CLUSTER", "redis://:hunter2@n-1")][..],
            "REDIS_CLUSTER",
        ),
        (&[("REDIS_CLUSTER", "n-1:0")], "REDIS_CLUSTER"),
        (
            &[("REDIS_CLUSTER", "n"), ("REDIS_URL", "redis://a")],
            "REDIS_CLUSTER",
        ),
        (
            &[("REDIS_CLUSTER", "n"), ("REDIS_HOST", "a")],
            "REDIS_CLUSTER",
        ),
        (
            &[("REDIS_CLUSTER", "n"), ("REDIS_SENTINELS", "s")],
            "REDIS_CLUSTER",
        ),
        (&[("REDIS_CLUSTER", "n"), ("REDIS_DB", "1")], "REDIS_DB"),
        (
            &[("REDIS_CLUSTER", "n"), ("REDIS_CA_FILE", "/ca.pem")],
            "REDIS_CA_FILE",
        ),
        (
            &[
                ("REDIS_CLUSTER", "n"),
                ("SHARED_STATE_URL", "sqlite:///s.db"),
            ],
            "SHARED_STATE_URL",
        ),
    ] {
        assert_eq!(faulty(pairs), [variable]);
        let text = from(pairs).unwrap_err().to_string();
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_redis_that_cannot_be_meant_is_refused() {
    for (pairs, variable) in [
        (&[("REDIS_URL", "http://:hunter2@cache")][..], "REDIS_URL"),
        (
            &[("REDIS_URL", "redis://a"), ("REDIS_HOST", "b")],
            "REDIS_HOST",
        ),
        (
            &[("REDIS_HOST", "b"), ("SHARED_STATE_URL", "sqlite:///s.db")],
            "SHARED_STATE_URL",
        ),
        (
            &[("REDIS_URL", "redis://a"), ("REDIS_CA_FILE", "ca.pem")],
            "REDIS_CA_FILE",
        ),
        (&[("REDIS_PORT", "0")], "REDIS_PORT"),
        (&[("REDIS_DB", "x")], "REDIS_DB"),
        (&[("REDIS_POOL_SIZE", "101")], "REDIS_POOL_SIZE"),
    ] {
        assert_eq!(faulty(pairs), [variable]);
        let text = from(pairs).unwrap_err().to_string();
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn circuit_breakers_are_set_watched_and_switched_off() {
    use crate::breaker::BreakerMode;
    let breakers = |pairs: &[(&str, &str)]| from(pairs).unwrap().breakers;
    let default = breakers(&[]);
    assert_eq!(default.failures.get(), 5);
    assert_eq!(default.open_for, Duration::from_secs(60));
    assert_eq!(default.mode, BreakerMode::Enforce);
    let tuned = breakers(&[
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "2"),
        ("CIRCUIT_BREAKER_TIMEOUT", "500"),
        ("CIRCUIT_BREAKER_MODE", "monitor"),
    ]);
    assert_eq!(
        (tuned.failures.get(), tuned.mode),
        (2, BreakerMode::Monitor)
    );
    assert_eq!(tuned.open_for, Duration::from_millis(500));
    let off = breakers(&[("FF_ENABLE_CIRCUIT_BREAKER", "false")]);
    assert_eq!(off.mode, BreakerMode::Off);
    let wrong = [
        ("FF_ENABLE_CIRCUIT_BREAKER", "perhaps"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "0"),
        ("CIRCUIT_BREAKER_TIMEOUT", "3600001"),
        ("CIRCUIT_BREAKER_MODE", "warn"),
    ];
    assert_eq!(faulty(&wrong), wrong.map(|(name, _)| name));
}

#[test]
fn documented_pool_and_algorithm_are_accepted() {
    let config = from(&[
        ("DATABASE_POOL_SIZE", "10"),
        ("DATABASE_MAX_OVERFLOW", "20"),
        ("JWT_ALGORITHM", "RS256"),
    ])
    .unwrap();
    let pool = (
        config.database.pool_size.get(),
        config.database.max_overflow,
    );
    assert_eq!(pool, (10, 20));
}

#[test]
fn a_server_has_the_documented_pool_and_shows_no_password() {
    let url = ("DATABASE_URL", "postgresql://app:hunter2@db:5432/auth");
    let config = from(&[url]).unwrap();
    let shown = config.database.place.to_string();
    assert_eq!(shown, "postgres://db:5432/auth");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.database.pool_size.get(), 10);
    assert_eq!(config.database.max_overflow, 20);
}

#[test]
fn production_warns_where_owners_get_no_mail() {
    let url = (
        "DATABASE_URL",
        "postgres://app:pw@db/auth?sslmode=verify-full",
    );
    let silent = from(&production(&[url])).unwrap();
    assert_eq!(silent.warnings.len(), 1);
    assert!(
        silent.warnings[0].contains("SMTP_HOST"),
        "{:?}",
        silent.warnings
    );
    let mail = [
        url,
        ("SMTP_HOST", "mail.acme.example"),
        ("SMTP_FROM", "a@acme.example"),
    ];
    let config = from(&production(&mail)).unwrap();
    assert!(config.warnings.is_empty() && config.database.sends_mail);
}

#[test]
fn production_warns_of_a_server_that_anybody_could_stand_in_for() {
    let warnings = |url| {
        let config = from(&production(&[("DATABASE_URL", url)])).unwrap();
        let warnings = config.warnings.iter();
        let about = warnings.filter(|warning| warning.contains("DATABASE_URL"));
        about.count()
    };
    assert_eq!(warnings("postgres://app:pw@db/auth"), 1);
    assert_eq!(warnings("postgres://app:pw@db/auth?sslmode=verify-full"), 0);
}

#[test]
fn several_servers_are_read_from_their_addresses_and_show_no_password() {
    let config = from(&[
        ("DATABASE_URL", "postgres://app:hunter2@db-1,db-2:6432/auth"),
        (
            "DATABASE_REPLICA_URLS",
            "postgres://ro:hunter3@db-3/auth  postgres://ro:hunter3@db-4,db-5/auth",
        ),
        (
            "DATABASE_DIRECT_URL",
            "postgres://app:hunter2@db-1:5433/auth",
        ),
        ("DATABASE_REPLICA_MAX_LAG", "2500"),
    ])
    .unwrap();
    assert_eq!(
        config.database.place.to_string(),
        "postgres://db-1:5432,db-2:6432/auth"
    );
    let DatabasePlace::Servers(servers) = &config.database.place else {
        panic!("{:?}", config.database.place);
    };
    let names: Vec<String> = servers.each().map(|server| server.endpoint()).collect();
    assert_eq!(
        names,
        [
            "db-1:5432",
            "db-2:6432",
            "db-3:5432",
            "db-4:5432",
            "db-5:5432"
        ]
    );
    assert_eq!(servers.direct.len(), 1);
    assert_eq!(config.database.replica_lag_max.as_millis(), 2500);
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn servers_that_cannot_be_meant_are_refused_without_their_passwords() {
    const URL: (&str, &str) = ("DATABASE_URL", "postgres://app:pw@db-1/auth");
    for (name, value) in [
        (
            "DATABASE_REPLICA_URLS",
            "postgres://ro:hunter2@db-1:5432/auth",
        ),
        (
            "DATABASE_REPLICA_URLS",
            "postgres://ro:hunter2@db-2,db-2/auth",
        ),
        ("DATABASE_REPLICA_URLS", "hunter2"),
        ("DATABASE_REPLICA_MAX_LAG", "99"),
        ("DATABASE_REPLICA_MAX_LAG", "25001"),
        ("DATABASE_DIRECT_URL", "mysql:hunter2"),
    ] {
        let refused = from(&[URL, (name, value)]).unwrap_err();
        let named: Vec<_> = refused.0.iter().map(|error| error.variable).collect();
        assert_eq!(named, [name], "{value}");
        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
    let beside_a_file = [("DATABASE_REPLICA_URLS", "x"), ("DATABASE_DIRECT_URL", "y")];
    let names = beside_a_file.map(|(name, _)| name);
    assert_eq!(
        faulty(&[
            ("DATABASE_URL", "sqlite://a.db"),
            beside_a_file[0],
            beside_a_file[1]
        ]),
        names
    );
}

#[test]
fn pool_sizes_go_by_their_other_names_too() {
    let pool = |pairs: &[(&str, &str)]| {
        let database = from(pairs).unwrap().database;
        (database.pool_size.get(), database.max_overflow)
    };
    assert_eq!(
        pool(&[("DB_POOL_MIN", "5"), ("DB_POOL_MAX", "20")]),
        (5, 15)
    );
    assert_eq!(pool(&[("DB_POOL_MAX", "4")]), (4, 0));
    let both = [("DATABASE_POOL_SIZE", "5"), ("DB_POOL_MIN", "5")];
    assert_eq!(faulty(&both), ["DB_POOL_MIN"]);
    let below = [("DB_POOL_MIN", "5"), ("DB_POOL_MAX", "3")];
    assert_eq!(faulty(&below), ["DB_POOL_MAX"]);
}

#[test]
fn a_misspelt_environment_is_refused() {
    assert!(faulty(&[("APP_ENV", "prod")]).contains(&"APP_ENV"));
}

#[test]
fn production_with_real_settings_starts() {
    let config = from(&production(&[])).unwrap();
    assert_eq!(config.environment, Environment::Production);
    assert!(matches!(config.keys.encryption_key, KeySource::Inline(_)));
}

#[test]
fn production_without_settings_names_everything_it_needs() {
    assert_eq!(
        faulty(&[("APP_ENV", "production")]),
        [
            "DATABASE_URL",
            "ISSUER_URL",
            "SECURITY_SALT",
            "KEY_ENCRYPTION_KEY_FILE"
        ]
    );
}

#[test]
fn sec_b03_a_previous_salt_needs_a_present_one_that_differs() {
    let (one, other) = (SALT, "Vn4qLr7xTz2yHc9mKd5wBs8pGf3jQa6e-Uv1");
    let name = "SECURITY_SALT_PREVIOUS";
    let config = from(&[("SECURITY_SALT", one), (name, other)]).unwrap();
    assert!(config.passwords.previous_pepper.is_some());
    assert!(!format!("{config:?}").contains(other));
    for faults in [
        faulty(&[(name, other)]),
        faulty(&[("SECURITY_SALT", one), (name, one)]),
        faulty(&production(&[(name, "short")])),
    ] {
        assert_eq!(faults, [name]);
    }
    let short = from(&[("SECURITY_SALT", one), (name, "short")]).unwrap();
    assert!(short.warnings.iter().any(|warning| warning.contains(name)));
}

#[test]
fn sec_b07_forbidden_words_are_a_bounded_list() {
    let name = "PASSWORD_FORBIDDEN_WORDS";
    let config = from(&[(name, " Acme Corp, rocket ,,")]).unwrap();
    assert_eq!(config.passwords.forbidden, ["Acme Corp", "rocket"]);
    for bad in ["ab", &"x".repeat(65), &"word,".repeat(101)] {
        assert_eq!(faulty(&[(name, bad)]), [name], "{bad:.20}");
    }
}

#[test]
fn sec_b04_production_refuses_a_short_or_example_salt() {
    for salt in [
        "short",
        "your-same-salt-on-all-instances",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        assert_eq!(
            faulty(&production(&[("SECURITY_SALT", salt)])),
            ["SECURITY_SALT"],
            "{salt}"
        );
    }
}

#[test]
fn development_warns_of_a_short_salt() {
    assert_eq!(
        from(&[("SECURITY_SALT", "short")]).unwrap().warnings.len(),
        1
    );
}

#[test]
fn sec_i04_production_refuses_an_http_issuer() {
    assert_eq!(
        faulty(&production(&[("ISSUER_URL", "http://auth.acme.test")])),
        ["ISSUER_URL"]
    );
}

#[test]
fn an_issuer_that_verifiers_could_read_in_two_ways_is_refused() {
    for issuer in [
        "https://a.test/",
        "https://a.test?x",
        "https://u@a.test",
        "a.test",
        "ftp://a.test",
    ] {
        assert_eq!(
            faulty(&[("ISSUER_URL", issuer)]),
            ["ISSUER_URL"],
            "{issuer}"
        );
    }
}

#[test]
fn a_weak_or_double_key_encryption_key_is_refused() {
    assert_eq!(
        faulty(&[("KEY_ENCRYPTION_KEY", "c2hvcnQ=")]),
        ["KEY_ENCRYPTION_KEY"]
    );
    assert_eq!(
        faulty(&[("KEY_ENCRYPTION_KEY", &"0".repeat(64))]),
        ["KEY_ENCRYPTION_KEY"]
    );
    let both = [
        ("KEY_ENCRYPTION_KEY", KEY),
        ("KEY_ENCRYPTION_KEY_FILE", "/run/kek"),
    ];
    assert_eq!(faulty(&both), ["KEY_ENCRYPTION_KEY"]);
}

#[test]
fn keys_turn_every_90_days_unless_set_otherwise() {
    let interval = |pairs: &[_]| from(pairs).unwrap().keys.rotation_interval;
    assert_eq!(interval(&[]), Some(Duration::from_secs(90 * 86_400)));
    assert_eq!(interval(&[("KEY_ROTATION_INTERVAL", "0")]), None);
    let hour = [("KEY_ROTATION_INTERVAL", "3600")];
    assert_eq!(interval(&hour), Some(Duration::from_secs(3600)));
    assert_eq!(
        faulty(&[("KEY_ROTATION_INTERVAL", "3599")]),
        ["KEY_ROTATION_INTERVAL"]
    );
}

#[test]
fn sec_c13_algorithm_and_size_are_from_closed_lists() {
    for (name, algorithm) in [
        ("RS256", Algorithm::Rs256),
        ("ES256", Algorithm::Es256),
        ("EdDSA", Algorithm::EdDsa),
    ] {
        let config = from(&[("JWT_ALGORITHM", name)]).unwrap();
        assert_eq!(config.keys.algorithm, algorithm);
    }
    for name in ["HS256", "none", "PS256", "ES384", "rs256"] {
        assert_eq!(faulty(&[("JWT_ALGORITHM", name)]), ["JWT_ALGORITHM"]);
    }
    for bits in ["1024", "2047", "4096", "many"] {
        assert_eq!(faulty(&[("JWT_RSA_BITS", bits)]), ["JWT_RSA_BITS"]);
    }
}

/// RFC 8410 section 10.3 and 10.1.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp\\n\
                       +K06/nwoy/HU++CXqI9EdVhC\\n-----END PRIVATE KEY-----\\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n\
                      -----END PUBLIC KEY-----";

#[test]
fn a_given_key_is_read_as_environment_files_write_it() {
    let mut pairs = vec![
        ("JWT_ALGORITHM", "EdDSA"),
        ("JWT_PRIVATE_KEY", PRIVATE),
        ("JWT_PUBLIC_KEY", PUBLIC),
        ("JWT_KEY_ID", "auth-server-key-1"),
    ];
    let config = from(&pairs).unwrap();
    assert!(config.keys.given.is_some() && config.keys.rotation_interval.is_none());
    let text = format!("{config:?}");
    assert!(!text.contains("MC4CAQ"), "{text}");
    let with_breaks = PRIVATE.replace("\\n", "\n");
    pairs[1].1 = &with_breaks;
    from(&pairs).unwrap();
    let quoted = format!("\"{PRIVATE}\"");
    pairs[1].1 = &quoted;
    from(&pairs).unwrap();
}

#[test]
fn sec_c13_a_given_key_that_cannot_be_used_is_refused_with_its_variable() {
    let algorithm = ("JWT_ALGORITHM", "EdDSA");
    let private = ("JWT_PRIVATE_KEY", PRIVATE);
    let weak = include_str!("../../../token/testdata/rsa-1024.pem");
    let exponent = include_str!("../../../token/testdata/rsa-2048-exponent-3.pem");
    let p384 = include_str!("../../../token/testdata/p384.pem");
    let other = PUBLIC.replace("Gb9E", "Gb9F");
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[private], "JWT_PRIVATE_KEY"),
        (&[("JWT_PRIVATE_KEY", weak)], "JWT_PRIVATE_KEY"),
        (&[("JWT_PRIVATE_KEY", exponent)], "JWT_PRIVATE_KEY"),
        (
            &[("JWT_ALGORITHM", "ES256"), ("JWT_PRIVATE_KEY", p384)],
            "JWT_PRIVATE_KEY",
        ),
        (
            &[algorithm, private, ("JWT_PRIVATE_KEY_FILE", "/k.pem")],
            "JWT_PRIVATE_KEY",
        ),
        (
            &[algorithm, private, ("JWT_PUBLIC_KEY", &other)],
            "JWT_PUBLIC_KEY",
        ),
        (&[algorithm, private, ("JWT_KEY_ID", "a b")], "JWT_KEY_ID"),
        (
            &[algorithm, private, ("KEY_ROTATION_INTERVAL", "86400")],
            "KEY_ROTATION_INTERVAL",
        ),
        (&[("JWT_KEY_ID", "alone")], "JWT_KEY_ID"),
    ];
    for (pairs, variable) in cases {
        let errors = from(pairs).expect_err(variable);
        assert_eq!(errors.0.len(), 1, "{errors}");
        assert_eq!(errors.0[0].variable, variable, "{errors}");
        assert!(!errors.to_string().contains("MC4CAQ"));
    }
}

#[test]
fn sec_c14_sessions_have_documented_lifetimes_and_a_ceiling() {
    let sessions = from(&[]).unwrap().sessions;
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    assert_eq!((sessions.idle_ttl, sessions.ttl), (hours(8), hours(24)));
    let short = from(&[("SESSION_TTL", "3600")]).unwrap().sessions;
    assert_eq!((short.idle_ttl, short.ttl), (hours(1), hours(1)));
    assert_eq!(faulty(&[("SESSION_TTL", "2592001")]), ["SESSION_TTL"]);
    let longer = [("SESSION_TTL", "60"), ("SESSION_IDLE_TTL", "61")];
    assert_eq!(faulty(&longer), ["SESSION_IDLE_TTL"]);
}

#[test]
fn sec_c14_tokens_have_documented_lifetimes_and_ceilings() {
    let tokens = from(&[]).unwrap().tokens;
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(tokens.access_ttl, Duration::from_secs(600));
    assert_eq!(tokens.refresh_idle_ttl, days(14));
    assert_eq!(tokens.refresh_absolute_ttl, days(90));
    for (name, highest) in [
        ("ACCESS_TOKEN_TTL", 3600),
        ("REFRESH_IDLE_TTL", 90 * 86_400),
        ("REFRESH_ABSOLUTE_TTL", 365 * 86_400),
    ] {
        let highest: u64 = highest;
        assert!(from(&[(name, &highest.to_string())]).is_ok(), "{name}");
        for wrong in [0, highest + 1] {
            assert_eq!(faulty(&[(name, &wrong.to_string())]), [name], "{wrong}");
        }
    }
}

#[test]
fn sec_f01_production_refuses_a_session_cookie_in_clear() {
    let clear = production(&[("SESSION_COOKIE_SECURE", "false")]);
    assert_eq!(faulty(&clear), ["SESSION_COOKIE_SECURE"]);
    let sessions = from(&production(&[])).unwrap().sessions;
    assert!(sessions.is_secure);
    assert_eq!(sessions.cookie_name, "__Host-portcullis_session");
    let named = production(&[("SESSION_COOKIE_NAME", "haven_session")]);
    assert_eq!(from(&named).unwrap().sessions.cookie_name, "haven_session");
    for (name, value) in [
        ("SESSION_COOKIE_NAME", "a b"),
        ("SESSION_COOKIE_NAME", "a;b"),
        ("SESSION_COOKIE_NAME", "__Host-x"),
        ("SESSION_COOKIE_SAMESITE", "none"),
        ("SESSION_COOKIE_SAMESITE", "maybe"),
    ] {
        assert_eq!(faulty(&[(name, value)]), [name], "{value}");
    }
}

#[test]
fn shared_state_has_a_file_of_its_own() {
    let same = [
        ("DATABASE_URL", "sqlite:///d/a.db"),
        ("SHARED_STATE_URL", "sqlite:///d/a.db"),
    ];
    assert_eq!(faulty(&same), ["SHARED_STATE_URL"]);
    assert_eq!(
        faulty(&[("DATABASE_URL", "sqlite::memory:")]),
        ["DATABASE_URL"]
    );
}

#[test]
fn sec_h02_trust_proxy_true_means_private_ranges_with_a_warning() {
    let config = from(&[("TRUST_PROXY", "true")]).unwrap();
    let trusts = |addr: &str| {
        let addr: std::net::IpAddr = addr.parse().unwrap();
        config
            .instance
            .trusted_proxies
            .iter()
            .any(|network| network.contains(&addr))
    };
    assert!(trusts("127.0.0.1") && trusts("10.9.8.7") && trusts("::1"));
    assert!(!trusts("8.8.8.8") && !trusts("2001:db8::1"));
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn debug_output_shows_no_secret() {
    let text = format!("{:?}", from(&production(&[])).unwrap());
    assert!(!text.contains(SALT) && !text.contains(KEY), "{text}");
}

#[test]
fn the_internal_listener_is_off_or_on_loopback_or_behind_a_token() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    assert!(from(&[]).unwrap().internal.is_none());
    for address in ["127.0.0.1:8100", "[::1]:8100", "[::ffff:127.0.0.1]:8100"] {
        let internal = from(&[("INTERNAL_ADDRESS", address)]).unwrap().internal;
        assert!(internal.unwrap().token.is_none());
    }
    let open = [("INTERNAL_ADDRESS", "0.0.0.0:8100")];
    assert_eq!(faulty(&open), ["INTERNAL_ADDRESS"]);
    for token in [
        ("INTERNAL_TOKEN", TOKEN),
        ("INTERNAL_TOKEN_FILE", "/run/token"),
    ] {
        let config = from(&[open[0], token]).unwrap();
        assert!(!format!("{config:?}").contains(TOKEN));
        assert!(config.internal.unwrap().token.is_some());
        let shared = from(&[token]).unwrap();
        assert!(shared.internal.is_none(), "nothing to open");
        assert!(
            shared.warnings[0].contains("INTERNAL_ADDRESS"),
            "{:?}",
            shared.warnings
        );
    }
    // Edges take none that is shorter either.
    let too_short = &TOKEN[1..];
    for bad in ["short", too_short, "thirty-two letters, and spaces too"] {
        assert_eq!(
            faulty(&[open[0], ("INTERNAL_TOKEN", bad)]),
            ["INTERNAL_TOKEN"]
        );
    }
    let both = [
        open[0],
        ("INTERNAL_TOKEN", TOKEN),
        ("INTERNAL_TOKEN_FILE", "/run/token"),
    ];
    assert_eq!(faulty(&both), ["INTERNAL_TOKEN"]);
    assert_eq!(
        faulty(&[("INTERNAL_ADDRESS", "localhost:8100")]),
        ["INTERNAL_ADDRESS"]
    );
    let example = [open[0], ("INTERNAL_TOKEN", "change-this-token-please")];
    assert_eq!(faulty(&production(&example)), ["INTERNAL_TOKEN"]);
}
