//! Filters that are built, opened, asked and damaged.

use super::*;

/// SHA-1 of `password1`, as a published list has it.
const PASSWORD1: &str = "E38AD214943DAAD1D64C102FAEC29DE4AFE9DA3D:3912816";

fn built(lines: &[u8]) -> (tempfile::TempDir, PathBuf, Built) {
    let directory = tempfile::tempdir().unwrap();
    let (list, out) = (directory.path().join("list"), directory.path().join("out"));
    std::fs::write(&list, lines).unwrap();
    let made = build(&list, &out, BITS_PER_ENTRY).unwrap();
    (directory, out, made)
}

#[test]
fn sec_b08_what_the_list_held_is_found_and_little_else() {
    let mut lines = format!("{PASSWORD1}\r\n\nhunter2 hunter2\nпароль-пароль\n");
    for n in 0..20_000 {
        lines.push_str(&format!("stolen password {n}\n"));
    }
    let (_directory, out, made) = built(lines.as_bytes());
    assert_eq!(made.entries, 20_003);
    assert_eq!(made.bytes, std::fs::metadata(&out).unwrap().len());
    assert!(made.bytes < 20_003 * 2 + 200, "{} bytes", made.bytes);
    assert!(made.false_positives < 0.002, "{}", made.false_positives);
    let filter = Breached::open(&out).unwrap();
    assert_eq!(filter.entries(), 20_003);
    for text in ["password1", "hunter2 hunter2", "пароль-пароль"] {
        assert!(filter.holds(text).unwrap(), "{text}");
    }
    for n in 0..20_000 {
        assert!(filter.holds(&format!("stolen password {n}")).unwrap());
    }
    let wrong = (0..20_000).filter(|n| filter.holds(&format!("a good one {n}")).unwrap());
    let wrong = wrong.count();
    assert!(wrong < 60, "{wrong} of 20,000 for none");
}

#[test]
fn sec_b08_a_damaged_or_truncated_filter_is_refused() {
    let (_directory, out, _) = built(b"one password\nanother one\n");
    let whole = std::fs::read(&out).unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(&out, bytes).unwrap();
        Breached::open(&out).unwrap_err()
    };
    for length in [0, 5, 31] {
        let error = open(&whole[..length]);
        assert!(matches!(error, BreachedError::NotAFilter(_)), "{error}");
    }
    for length in 32..whole.len() {
        let error = open(&whole[..length]);
        assert!(
            matches!(error, BreachedError::WrongLength { .. }),
            "{error}"
        );
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(matches!(open(&longer), BreachedError::WrongLength { .. }));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        open(&damaged);
    }
    std::fs::write(&out, &whole).unwrap();
    assert!(Breached::open(&out).is_ok());
    let missing = Breached::open(Path::new("/nowhere/filter")).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/filter"));
}

#[test]
fn what_is_no_list_is_refused_by_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let (list, out) = (directory.path().join("list"), directory.path().join("out"));
    let refused = |lines: &[u8]| {
        std::fs::write(&list, lines).unwrap();
        let refused = build(&list, &out, BITS_PER_ENTRY).unwrap_err().to_string();
        assert!(!out.exists(), "nothing is left");
        refused
    };
    let ntlm = format!("good\n{}:12\n", "A".repeat(32));
    assert!(refused(ntlm.as_bytes()).contains("line 2: is an NTLM digest"));
    let long = [b"a\n".as_slice(), &[b'x'; 5000]].concat();
    assert!(refused(&long).contains("line 2: is longer"));
    assert!(refused(b"\n\r\n").contains("holds no passwords"));
    std::fs::remove_file(&list).unwrap();
    assert!(build(&list, &out, BITS_PER_ENTRY).is_err());
}

#[test]
fn a_line_with_a_colon_that_is_no_digest_is_a_password() {
    let (_directory, out, made) =
        built(b"a:b:c\n0123456789012345678901234567890123456789:x\n\xff\xfe\n");
    assert_eq!(made.entries, 3);
    let filter = Breached::open(&out).unwrap();
    for text in ["a:b:c", "0123456789012345678901234567890123456789:x"] {
        assert!(filter.holds(text).unwrap(), "{text}");
    }
}

#[test]
fn a_new_filter_takes_the_place_of_the_old_one_and_leaves_no_draft() {
    let (directory, out, _) = built(b"old password\n");
    let open = Breached::open(&out).unwrap();
    std::fs::write(directory.path().join("list"), b"new password\n").unwrap();
    build(&directory.path().join("list"), &out, 24).unwrap();
    assert!(open.holds("old password").unwrap(), "what is open stays");
    assert!(Breached::open(&out).unwrap().holds("new password").unwrap());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
}
