//! The audit log of running instances: whole as long as nobody touches it, and telling where somebody did.

use portcullis_auth::operator::audit::{self, AuditQuery};
use portcullis_auth::operator::{self, OperatorError};
use portcullis_auth::store::PageLimit;
use portcullis_auth::{Broken, ChainReport};
use portcullis_testkit::wait_until;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, assert_problem};

async fn verify(installation: &Installation) -> ChainReport {
    let config = installation.config("op", &[]);
    audit::verify(&config, None).await.unwrap()
}

/// Waits until every line has its place.
async fn linked(installation: &Installation) -> ChainReport {
    wait_until("a chain of all lines", async || {
        (verify(installation).await.unlinked == 0).then_some(())
    })
    .await;
    // Lines that were linked behind the walk are in the next one.
    verify(installation).await
}

async fn use_a_little(instance: &Instance) {
    let tokens = instance.register_and_login().await;
    instance.try_login(EMAIL, "a wrong one").await;
    instance.refresh(&tokens.refresh).await;
    instance.logout(&tokens.access).await;
}

/// What somebody does to the tables, and what is told of it. `END` is the last position, `ALL` every column that a line
/// is written with.
const TAMPERING: [(&str, &str); 11] = [
    (
        "UPDATE audit SET client = '198.51.100.0' WHERE position = 2",
        "line 2 of the chain: it was written or changed",
    ),
    (
        "UPDATE audit SET event = 'logged_out' WHERE position = 3",
        "line 3 of the chain: it was written or changed",
    ),
    (
        "UPDATE audit SET at = at + 1 WHERE position = 4",
        "line 4 of the chain: it was written or changed",
    ),
    (
        "UPDATE audit SET account_id = NULL, blind = NULL, erasure = '\\x00' WHERE position = 2",
        "line 2 of the chain: its erasure",
    ),
    (
        "DELETE FROM audit WHERE position = 3",
        "line 3 of the chain: a line before it is missing",
    ),
    (
        "DELETE FROM audit WHERE position = 1; UPDATE audit SET position = position - 1",
        "line 1 of the chain: it, or a line before it, was replaced",
    ),
    (
        "DELETE FROM audit WHERE position = END",
        "the chain ends before line END",
    ),
    (
        "DELETE FROM audit WHERE position = END; DELETE FROM audit_mark",
        "the mark of the end of the chain is not ours",
    ),
    (
        "UPDATE audit_mark SET at = at + 1",
        "the mark of the end of the chain is not ours",
    ),
    (
        "INSERT INTO audit (ALL) SELECT ALL FROM audit WHERE position = 3",
        "it is a copy of another line",
    ),
    (
        "INSERT INTO audit (tenant_id, at, event, blind, seal) VALUES ('default', 1, 'login_succeeded', '\\x00', '\\x00')",
        "not in the chain yet: it was written or changed",
    ),
];
const ALL: &str = "tenant_id, at, event, account_id, session_id, client, outcome, actor_kind, actor_id, object, request_id, blind, seal";
const KEEP: &str =
    "CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE marks AS SELECT * FROM audit_mark";
const PUT_BACK: &str =
    "TRUNCATE audit; INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM kept;
    DELETE FROM audit_mark; INSERT INTO audit_mark SELECT * FROM marks";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_database_alone_is_found_out_with_the_first_line_he_touched() {
    let installation = Installation::on_postgres().await;
    let instances = [installation.start("a").await, installation.start("b").await];
    for instance in &instances {
        use_a_little(instance).await;
    }
    let report = linked(&installation).await;
    assert_eq!(report.broken, None);
    assert!(report.walk.lines >= 8, "{report:?}");
    for instance in instances {
        instance.stop().await;
    }
    let server = installation.server.as_ref().unwrap();
    server.query(KEEP);
    let end = report.walk.position.to_string();
    for (statement, says) in TAMPERING {
        server.query(&statement.replace("END", &end).replace("ALL", ALL));
        let broken = verify(&installation).await.broken;
        let told = broken.map(|broken| broken.to_string()).unwrap_or_default();
        let id = told.find(" (id ").zip(told.find("): "));
        let told = id.map_or(told.clone(), |(from, to)| {
            told[..from].to_owned() + &told[to + 1..]
        });
        let says = says.replace("END", &end);
        assert!(told.contains(&says), "{statement}: {told}");
        server.query(PUT_BACK);
        assert_eq!(
            verify(&installation).await.broken,
            None,
            "after {statement}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_log_is_told_from_what_was_noted_down() {
    let installation = Installation::on_postgres().await;
    let instance = installation.start("a").await;
    use_a_little(&instance).await;
    let early = linked(&installation).await;
    let server = installation.server.as_ref().unwrap();
    server.query(
        "CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE marks AS SELECT * FROM audit_mark",
    );
    instance.try_login(EMAIL, PASSWORD).await;
    let late = linked(&installation).await;
    instance.stop().await;
    let config = installation.config("op", &[]);
    let noted = |report: &ChainReport| Some((report.walk.position, report.walk.link.clone()));
    for report in [&early, &late] {
        let again = audit::verify(&config, noted(report)).await.unwrap();
        assert_eq!(again.broken, None);
    }
    server.query(
        "TRUNCATE audit; INSERT INTO audit OVERRIDING SYSTEM VALUE SELECT * FROM kept;
         DELETE FROM audit_mark; INSERT INTO audit_mark SELECT * FROM marks",
    );
    assert_eq!(
        verify(&installation).await.broken,
        None,
        "it is a whole chain"
    );
    let found = audit::verify(&config, noted(&late)).await.unwrap().broken;
    let position = late.walk.position;
    assert_eq!(found, Some(Broken::Unexpected { position }));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_an_earlier_release_are_adopted_and_counted() {
    let installation = Installation::on_postgres().await;
    let server = installation.server.as_ref().unwrap();
    server.query("INSERT INTO audit (tenant_id, at, event) VALUES ('default', 1, 'login_failed')");
    let instance = installation.start("a").await;
    let report = linked(&installation).await;
    assert_eq!((report.broken, report.walk.adopted), (None, 1));
    instance.stop().await;
}

on_every_store!(
    sec_i06_an_erased_person_is_nowhere_and_the_chain_is_whole,
    the_log_is_read_page_by_page_and_reading_it_is_a_line,
);

async fn sec_i06_an_erased_person_is_nowhere_and_the_chain_is_whole(installation: Installation) {
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let config = installation.config("op", &[]);
    let id = operator::show(&config, EMAIL).await.unwrap().id.to_string();
    let before = linked(&installation).await.walk.lines;
    let erased = operator::erase(&config, EMAIL).await.unwrap();
    assert_eq!(erased.audit_lines, 2);
    assert_problem(&instance.verify(&tokens.access).await, 401, "invalid_token");
    let refused = instance.refresh(&tokens.refresh).await;
    assert_problem(&refused, 401, "invalid_refresh_token");
    let refused = instance.try_login(EMAIL, PASSWORD).await;
    assert_problem(&refused, 401, "invalid_credentials");
    let report = linked(&installation).await;
    assert_eq!((report.broken, report.walk.erased), (None, 2));
    assert!(report.walk.lines > before);
    let mut lines = String::new();
    let each = |row: &_| {
        lines += &format!("{row:?}\n");
        Ok(())
    };
    audit::export(&config, 0, each).await.unwrap();
    assert!(
        lines.contains("account_erased") && !lines.contains(&id),
        "{lines}"
    );
    let gone = operator::erase(&config, EMAIL).await.unwrap_err();
    assert!(matches!(gone, OperatorError::NoSuchAccount(_)), "{gone}");
    let gone = operator::erase(&config, &id).await.unwrap_err();
    assert!(matches!(gone, OperatorError::NoSuchAccount(_)), "{gone}");
    // The address is free again, for somebody else.
    instance.register_and_login().await;
}

async fn the_log_is_read_page_by_page_and_reading_it_is_a_line(installation: Installation) {
    let instance = installation.start("a").await;
    use_a_little(&instance).await;
    let config = installation.config("op", &[]);
    let query = AuditQuery {
        account: Some(EMAIL.to_owned()),
        ..AuditQuery::default()
    };
    let (mut cursor, mut events) = (None, Vec::new());
    loop {
        let page = audit::list(&config, &query, cursor.as_deref(), PageLimit::new(2));
        let page = page.await.unwrap();
        events.extend(page.rows.into_iter().map(|row| row.event));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(
        events,
        [
            "logged_out",
            "login_failed",
            "login_succeeded",
            "registered"
        ]
    );
    let reads = AuditQuery {
        event: Some("audit_read".to_owned()),
        ..AuditQuery::default()
    };
    let read = audit::list(&config, &reads, None, PageLimit::MAX)
        .await
        .unwrap();
    assert_eq!(read.rows.len(), 3);
    assert_eq!(read.rows[0].actor_kind.as_deref(), Some("operator"));
    let of_another = audit::list(&config, &query, None, PageLimit::new(2))
        .await
        .unwrap();
    let strange = audit::list(&config, &reads, of_another.next.as_deref(), PageLimit::MAX).await;
    assert!(matches!(strange, Err(OperatorError::Cursor)));
    let nonsense = AuditQuery {
        event: Some("' OR 1=1 --".to_owned()),
        ..AuditQuery::default()
    };
    let refused = audit::list(&config, &nonsense, None, PageLimit::MAX).await;
    assert!(matches!(refused, Err(OperatorError::Unknown { .. })));
}
