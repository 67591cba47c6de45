//! A chain that somebody without the key has been at.

use super::*;

fn key() -> ChainKey {
    ChainKey::new(&[7; 32])
}

/// `count` linked lines, and the mark behind the last.
fn chain(count: i64) -> (Vec<AuditRow>, ChainMark) {
    let key = key();
    let mut link = Vec::new();
    let rows: Vec<_> = (1..=count)
        .map(|position| {
            let mut row = AuditRow {
                id: position,
                at: UnixMillis(position * 1000),
                event: "login_succeeded".to_owned(),
                outcome: Some("done".to_owned()),
                actor_kind: Some("account".to_owned()),
                personal: Personal {
                    account_id: Some(format!("account {position}")),
                    client: Some("192.0.2.0".to_owned()),
                    ..Personal::default()
                },
                blind: Some(vec![position as u8; 16]),
                position: Some(position),
                ..AuditRow::default()
            };
            let personal = row.personal.digest(row.blind.as_deref().unwrap());
            let seal = key.seal(&row, &personal);
            link = key.link(&link, position, &seal).to_vec();
            row.seal = Some(seal.to_vec());
            row.link = Some(link.clone());
            row
        })
        .collect();
    let at = UnixMillis(0);
    let code = key.mark(MarkKind::Head, count, &link, at).to_vec();
    let mark = ChainMark {
        position: count,
        link,
        at,
        code,
    };
    (rows, mark)
}

/// How far the chain is whole, and what is wrong with the line behind.
fn walk(rows: &[AuditRow], cut: Option<&ChainMark>) -> (i64, Option<Flaw>) {
    let mut walk = ChainWalk::behind(cut);
    for row in rows {
        if let Err(flaw) = walk.step(&key(), row) {
            return (walk.position, Some(flaw));
        }
    }
    (walk.position, None)
}

fn erase(row: &mut AuditRow, pseudonym: &str) {
    let digest = row.personal.digest(row.blind.as_deref().unwrap());
    row.personal = Personal {
        account_id: Some(pseudonym.to_owned()),
        ..Personal::default()
    };
    let seal = row.seal.as_deref().unwrap();
    row.erasure = Some(key().erasure(seal, &digest, &row.personal));
    row.blind = None;
}

#[test]
fn a_chain_is_whole_as_it_was_made_and_behind_a_cut() {
    let (rows, head) = chain(5);
    assert_eq!(walk(&rows, None), (5, None));
    assert!(key().is_ours(MarkKind::Head, &head));
    assert!(
        !key().is_ours(MarkKind::Cut, &head),
        "each kind has its own code"
    );
    let (_, cut) = chain(2);
    assert_eq!(walk(&rows[2..], Some(&cut)), (5, None));
    let moved = ChainMark { position: 3, ..cut };
    assert!(!key().is_ours(MarkKind::Cut, &moved));
}

#[test]
fn any_change_of_any_word_is_told_by_the_line_it_is_in() {
    let changes: [fn(&mut AuditRow); 14] = [
        |row| row.at = UnixMillis(1),
        |row| row.event = "logged_out".to_owned(),
        |row| row.outcome = Some("refused".to_owned()),
        |row| row.outcome = None,
        |row| row.actor_kind = Some("operator".to_owned()),
        |row| row.object = Some(String::new()),
        |row| row.personal.account_id = Some("account 4".to_owned()),
        |row| row.personal.account_id = None,
        |row| row.personal.client = Some("198.51.100.0".to_owned()),
        |row| row.personal.actor_id = row.personal.account_id.take(),
        |row| row.blind = Some(vec![9; 16]),
        |row| row.seal = Some(vec![9; 32]),
        |row| row.seal = None,
        |row| row.erasure = Some(vec![9; 64]),
    ];
    for (number, change) in changes.iter().enumerate() {
        let (mut rows, _) = chain(5);
        change(&mut rows[2]);
        assert_eq!(walk(&rows, None), (2, Some(Flaw::Seal)), "change {number}");
    }
}

#[test]
fn lines_that_are_missing_moved_or_written_without_the_key_are_told() {
    let (rows, _) = chain(5);
    let mut missing = rows.clone();
    missing.remove(2);
    assert_eq!(walk(&missing, None), (2, Some(Flaw::Gap)));
    let mut closed = missing;
    for (position, row) in (1..).zip(&mut closed) {
        row.position = Some(position);
    }
    assert_eq!(walk(&closed, None), (2, Some(Flaw::Link)));
    let mut swapped = rows.clone();
    swapped.swap(2, 3);
    swapped[2].position = Some(3);
    swapped[3].position = Some(4);
    assert_eq!(walk(&swapped, None), (2, Some(Flaw::Link)));
    let strange = ChainKey::new(&[8; 32]);
    let mut forged = rows;
    let row = &mut forged[4];
    row.event = "roles_changed".to_owned();
    let digest = row.personal.digest(row.blind.as_deref().unwrap());
    row.seal = Some(strange.seal(row, &digest).to_vec());
    assert_eq!(walk(&forged, None), (4, Some(Flaw::Seal)));
}

#[test]
fn an_erased_line_stays_in_the_chain_and_tells_nobody_whom_it_was_about() {
    let (mut rows, _) = chain(3);
    erase(&mut rows[1], "erased 1");
    assert_eq!(walk(&rows, None), (3, None));
    let shown = format!("{:?}", rows[1]);
    assert!(
        !shown.contains("account 2") && !shown.contains("192.0.2"),
        "{shown}"
    );
    let mut renamed = rows.clone();
    renamed[1].personal.account_id = Some("erased 2".to_owned());
    assert_eq!(walk(&renamed, None), (1, Some(Flaw::Erasure)));
    let mut by_hand = rows;
    by_hand[2].personal = Personal::default();
    by_hand[2].blind = None;
    by_hand[2].erasure = Some(vec![0; 64]);
    assert_eq!(walk(&by_hand, None), (2, Some(Flaw::Erasure)));
}

#[test]
fn a_line_of_an_earlier_release_is_adopted_and_counted() {
    let (mut rows, _) = chain(1);
    let digest = rows[0].personal.digest(rows[0].blind.as_deref().unwrap());
    let seal = key().adopt(&rows[0], &digest);
    rows[0].link = Some(key().link(&[], 1, &seal).to_vec());
    rows[0].seal = Some(seal.to_vec());
    let mut walk = ChainWalk::behind(None);
    walk.step(&key(), &rows[0]).unwrap();
    assert_eq!((walk.lines, walk.adopted), (1, 1));
}

#[test]
fn the_key_is_never_shown() {
    assert_eq!(format!("{:?}", key()), "ChainKey");
}
