//! A rolling deploy: the previous release serves on a schema that the newest one has migrated. Never more than one
//! release apart.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What the previous release writes and deletes, with values in the place of its parameters, in an order in which it
/// might. Frozen: each release replaces the list by its own.
const PREVIOUS: [&str; 22] = [
    "INSERT INTO account (id, tenant_id, email, password_hash, status, created_at)
     VALUES ('ada', 'default', 'ada@example.com', 'phc', 'active', 1) ON CONFLICT (tenant_id, email) DO NOTHING",
    "INSERT INTO account_role (account_id, role) VALUES ('ada', 'admin')",
    "UPDATE account SET password_hash = 'other' WHERE id = 'ada' AND tenant_id = 'default' AND password_hash = 'phc'",
    "WITH owner AS (
         SELECT id FROM account WHERE id = 'ada' AND tenant_id = 'default' AND status = 'active' FOR SHARE
     ), family AS (
         INSERT INTO refresh_family (id, tenant_id, account_id, client_id, session_id, created_at, absolute_expires_at, revoked_at)
         SELECT 'f', 'default', id, 'web', 's', 1, 1000, NULL FROM owner RETURNING id
     ), token AS (
         INSERT INTO refresh_token (hash, family_id, issued_at, expires_at)
         SELECT '\\x01', id, 1, LEAST(500, 1000) FROM family
     ), entry AS (
         INSERT INTO audit (tenant_id, at, event, account_id, session_id, client)
         SELECT 'default', 1, 'login_succeeded', 'ada', 's', '127.0.0.1' FROM family
     )
     SELECT id FROM family",
    "WITH spent AS (
         UPDATE refresh_token t SET spent_at = 2, successor = '\\x02', successor_box = '\\x00'
         FROM refresh_family f JOIN account a ON a.id = f.account_id
         WHERE t.hash = '\\x01' AND t.spent_at IS NULL AND t.expires_at > 2
           AND f.id = t.family_id AND f.revoked_at IS NULL AND f.absolute_expires_at > 2
           AND f.client_id = 'web' AND f.tenant_id = 'default' AND a.status = 'active'
         RETURNING f.id AS family_id, f.account_id, f.client_id, f.session_id, f.created_at, f.absolute_expires_at,
                   f.revoked_at, a.email, a.password_hash, a.status, a.created_at AS account_created_at
     ), issued AS (
         INSERT INTO refresh_token (hash, family_id, issued_at, expires_at)
         SELECT '\\x02', family_id, 2, LEAST(600, absolute_expires_at) FROM spent RETURNING expires_at
     )
     SELECT spent.*, issued.expires_at,
            (SELECT string_agg(role, ',') FROM account_role r WHERE r.account_id = spent.account_id) AS roles
     FROM spent, issued",
    "INSERT INTO audit (tenant_id, at, event, account_id, session_id, client) VALUES ('default', 2, 'registered', 'ada', NULL, NULL)",
    "UPDATE refresh_family SET revoked_at = 3 WHERE session_id = 's' AND revoked_at IS NULL",
    "DELETE FROM revocation WHERE tenant_id = 'default' AND kind = 'session' AND subject = 's' RETURNING not_before, until",
    "INSERT INTO revocation (tenant_id, kind, subject, not_before, until) VALUES ('default', 'session', 's', 0, 1000)",
    "DELETE FROM account_role WHERE account_id = 'ada'",
    "UPDATE account SET status = 'disabled' WHERE id = 'ada' AND tenant_id = 'default'",
    "UPDATE refresh_family SET revoked_at = 4 WHERE account_id = 'ada' AND revoked_at IS NULL",
    "INSERT INTO signing_key (kid, tenant_id, algorithm, state, sealed_private_key, created_at, changed_at)
     VALUES ('k1', 'default', 'EdDSA', 'active', '\\x00', 1, 1), ('k2', 'default', 'EdDSA', 'next', '\\x00', 1, 1)",
    "UPDATE signing_key SET state = 'retiring', changed_at = 2 WHERE kid = 'k1'",
    "UPDATE signing_key SET state = 'active', changed_at = 2 WHERE kid = 'k2' AND state = 'next' AND tenant_id = 'default'",
    "INSERT INTO setup_token (tenant_id, hash, created_at, expires_at)
     SELECT 'default', '\\x03', 1, 1000
     WHERE NOT EXISTS (SELECT 1 FROM account_role r JOIN account a ON a.id = r.account_id WHERE r.role = 'admin' AND a.tenant_id = 'default')
     ON CONFLICT (tenant_id) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at,
         expires_at = excluded.expires_at, spent_at = NULL",
    "UPDATE setup_token SET spent_at = 2 WHERE tenant_id = 'default' AND hash = '\\x03' AND spent_at IS NULL AND expires_at > 2",
    "INSERT INTO instance (id, tenant_id, address, version, fingerprint, state, started_at, expires_at)
     VALUES ('i', 'default', '127.0.0.1:1', '1', '', 'ready', 1, 1000)
     ON CONFLICT (id) DO UPDATE SET address = excluded.address, version = excluded.version,
         fingerprint = excluded.fingerprint, state = excluded.state, started_at = excluded.started_at,
         expires_at = excluded.expires_at",
    "DELETE FROM refresh_token WHERE hash IN (SELECT hash FROM refresh_token WHERE expires_at <= 550 LIMIT 5)",
    "DELETE FROM refresh_family WHERE id IN (SELECT id FROM refresh_family WHERE absolute_expires_at <= 2000 LIMIT 5)",
    "DELETE FROM setup_token WHERE tenant_id = 'default' AND (expires_at <= 2 OR spent_at IS NOT NULL)",
    "DELETE FROM instance WHERE id IN (SELECT id FROM instance WHERE expires_at <= 2000 LIMIT 5)",
];

/// A server with the schema of the previous release.
async fn previous() -> Postgres {
    let server = Postgres::start().await;
    let pool = pool(&options(&server)).await;
    let newest = migrate::store().iter().map(|step| step.version).max();
    let previous = migrate::store_until(newest.unwrap() - 1);
    migrate::run(&pool, &previous).await.unwrap();
    pool.close().await;
    server
}

fn rows(server: &Postgres, sql: &str) -> BTreeSet<String> {
    server.query(sql).lines().map(str::to_owned).collect()
}

/// Each column with what a write may do with it: its type, whether it must be given, whether it may be empty.
fn columns(server: &Postgres) -> BTreeMap<String, (String, bool)> {
    let asking = "SELECT table_name || '.' || column_name || '|' || data_type || '|' || is_nullable || '|' ||
        (is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES')
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'";
    let read = |row: &String| {
        let (name, rest) = row.split_once('|').unwrap();
        let (kind, may_miss) = rest.rsplit_once('|').unwrap();
        (name.to_owned(), (kind.to_owned(), may_miss == "true"))
    };
    rows(server, asking).iter().map(read).collect()
}

/// What forbids rows: checks, keys, references and unique indexes.
fn rules(server: &Postgres) -> BTreeSet<String> {
    let mut rules = rows(
        server,
        "SELECT conrelid::regclass || ': ' || replace(pg_get_constraintdef(oid), E'\\n', ' ') FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace",
    );
    rules.extend(rows(
        server,
        "SELECT tablename || ': ' || replace(indexdef, E'\\n', ' ') FROM pg_indexes
         WHERE schemaname = 'public' AND indexdef LIKE 'CREATE UNIQUE%'",
    ));
    rules
}

#[test]
fn the_newest_schema_takes_whatever_the_previous_release_writes() {
    block_on(async {
        let (before, after) = (previous().await, Postgres::start().await);
        opened(&after).await.close().await;
        let (old, new) = (columns(&before), columns(&after));
        for (name, (kind, may_miss)) in &old {
            let now = new.get(name).unwrap_or_else(|| panic!("{name} is gone"));
            assert_eq!(now, &(kind.clone(), *may_miss), "{name}");
        }
        let tables: BTreeSet<&str> = old
            .keys()
            .filter_map(|name| name.split('.').next())
            .collect();
        for (name, (_, may_miss)) in &new {
            let is_of_an_old_table = tables.contains(name.split('.').next().unwrap());
            let must_be_given = is_of_an_old_table && !old.contains_key(name) && !may_miss;
            assert!(!must_be_given, "the previous release does not know {name}");
        }
        for rule in rules(&after).difference(&rules(&before)) {
            let table = rule.split(':').next().unwrap();
            assert!(
                !tables.contains(table),
                "the previous release does not know {rule}"
            );
        }
    });
}

#[test]
fn statements_of_the_previous_release_run_on_the_newest_schema() {
    block_on(async {
        for is_newest in [false, true] {
            let server = previous().await;
            if is_newest {
                opened(&server).await.close().await;
            }
            for statement in PREVIOUS {
                server.query(statement);
            }
            let left = "SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM refresh_family),
                (SELECT count(*) FROM revocation), (SELECT count(*) FROM signing_key WHERE state = 'active'),
                (SELECT count(*) FROM audit)";
            assert_eq!(server.query(left), "1|0|1|1|2");
        }
    });
}

#[test]
fn what_the_previous_release_wrote_is_read_after_the_migration() {
    block_on(async {
        let server = previous().await;
        let ids = [
            ("'ada'", "'00000000-0000-4000-8000-000000000001'"),
            ("'f'", "'00000000-0000-4000-8000-000000000002'"),
            ("'s'", "'00000000-0000-4000-8000-000000000003'"),
        ];
        for statement in &PREVIOUS[..6] {
            let named = |text: String, (name, id): &(&str, &str)| text.replace(name, id);
            server.query(&ids.iter().fold((*statement).to_owned(), named));
        }
        let store = opened(&server).await;
        let email = crate::domain::Email::parse("ada@example.com").unwrap();
        let account = store.account_by_email(&email).await.unwrap().unwrap();
        assert!(account.roles.iter().any(|role| role.as_str() == "admin"));
        let lines = store.recent_audit(PageLimit::MAX).await.unwrap();
        assert_eq!(lines.len(), 2);
    });
}

/// Every start migrates first, so that this release never serves on the schema of the previous one.
#[test]
fn where_a_migration_is_missing_and_forbidden_a_start_is_refused_and_changes_nothing() {
    block_on(async {
        let server = previous().await;
        server.query(
            "CREATE ROLE app LOGIN PASSWORD 'app-pw';
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app",
        );
        let before = columns(&server);
        let url = format!("postgres://app:app-pw@{}/postgres", server.address());
        let options = PostgresOptions {
            servers: to(&url),
            ..options(&server)
        };
        let refused = open(&options).await.unwrap_err();
        assert!(matches!(refused, StoreError::Migration(_)), "{refused:?}");
        assert_eq!(columns(&server), before);
        let plan = super::super::plan(&options).await.unwrap();
        assert_eq!(plan.missing.len(), 1, "{plan:?}");
        assert_eq!(columns(&server), before);
    });
}

#[test]
fn a_plan_is_told_without_doing_it() {
    block_on(async {
        let server = Postgres::start().await;
        let plan = super::super::plan(&options(&server)).await.unwrap();
        assert_eq!(
            (plan.found, plan.missing.len()),
            (None, migrate::store().iter().count())
        );
        assert_eq!(server.query("SELECT to_regclass('account') IS NULL"), "t");
        opened(&server).await.close().await;
        let plan = super::super::plan(&options(&server)).await.unwrap();
        assert_eq!((plan.found, plan.missing.len()), (Some(plan.ours), 0));
    });
}
