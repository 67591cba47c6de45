//! Hostile paths under every rule. Random ones print their seed.

use super::*;

fn by_default(path: &str) -> Option<String> {
    normalize(path, &PathRules::default()).map(Cow::into_owned)
}

#[test]
fn usual_paths_are_not_touched() {
    let rules = PathRules::default();
    for path in [
        "/",
        "/a/b",
        "/a/",
        "*",
        "",
        "/.hidden",
        "/a.b/..c",
        "/a/...",
        "/%20a/%C3%A4",
        "/x;v=1",
        "/a//b",
        "/a%2Fb",
        "/%252e%252e",
    ] {
        assert_eq!(normalize(path, &rules).as_deref(), Some(path), "{path}");
    }
    assert!(matches!(normalize("/a/b", &rules), Some(Cow::Borrowed(_))));
}

#[test]
fn what_hides_another_path_is_refused() {
    for path in [
        "/..",
        "/a/..",
        "/../a",
        "/a/./b",
        "/.",
        "..",
        ".",
        "/%2e%2e/a",
        "/.%2E/a",
        "/%2e",
        "/a/%2E%2e",
        "/public/..;/admin",
        "/public/..;x=1/admin",
        "/public/.;/admin",
        "/public/%2e%2e;/admin",
        "/public/..%3b/admin",
        "/a/..%2fadmin",
        "/a%2f..%2Fadmin",
        "/a%2F%2e%2e/b",
        "/a\\..\\b",
        "/a/..\\b",
        "/a/..%5cb",
        "/a%5C..%5c",
        "/\\internal",
        "/%5cinternal",
        "/a%00",
        "/%00/internal",
        "/internal%00.jpg",
        "/%c0%ae%c0%ae/a",
        "/%c0%afinternal",
        "/%C1%9c",
        "/%e0%80%af",
        "/%f0%80%80%af",
        "/%E0%9F%BF",
        "/%zz",
        "/%",
        "/%4",
        "/a%u002e",
        "/%%32%65",
    ] {
        assert_eq!(by_default(path), None, "{path}");
    }
}

#[test]
fn some_oddities_are_kept_where_the_rules_say_so() {
    let rules = PathRules {
        backslash: Oddity::Keep,
        bad_encoding: Oddity::Keep,
        ..PathRules::default()
    };
    for path in ["/a\\b", "/a%5cb", "/100%", "/%zz"] {
        assert_eq!(normalize(path, &rules).as_deref(), Some(path), "{path}");
    }
    for path in ["/a\\..\\b", "/a/..%5c", "/%00", "/%c0%af"] {
        assert_eq!(normalize(path, &rules), None, "{path}");
    }
    let rules = PathRules {
        parameters: Oddity::Refuse,
        encoded_slash: EncodedSlash::Refuse,
        double_slash: DoubleSlash::Refuse,
        ..PathRules::default()
    };
    for path in ["/a;b", "/a%2fb", "/a//b", "//"] {
        assert_eq!(normalize(path, &rules), None, "{path}");
    }
}

#[test]
fn what_has_one_meaning_is_given_it() {
    let rules = PathRules {
        encoded_slash: EncodedSlash::Decode,
        dot_segments: DotSegments::Resolve,
        double_slash: DoubleSlash::Merge,
        ..PathRules::default()
    };
    for (path, expected) in [
        ("//internal", Some("/internal")),
        ("/a%2f%2Fb//c", Some("/a/b/c")),
        ("/a/../b", Some("/b")),
        ("/a/b/..", Some("/a/")),
        ("/a/b/.", Some("/a/b/")),
        ("/a/%2e%2E/b/%2e/c", Some("/b/c")),
        ("/a%2f..%2fb", Some("/b")),
        ("/a/..", Some("/")),
        ("/..", None),
        ("/a/../../b", None),
        ("/a%2f..%2f../b", None),
        ("/a/..;/b", None),
        ("/a/.;x/b", None),
        ("/a/..%5cb", None),
        ("/%252e%252e/a", Some("/%252e%252e/a")),
        ("/a%252fb", Some("/a%252fb")),
    ] {
        assert_eq!(normalize(path, &rules).as_deref(), expected, "{path}");
    }
}

#[test]
fn readings_are_what_servers_might_make_of_a_path() {
    for path in ["/", "/a/b", "/a%20b", "/a.b/c"] {
        assert_eq!(readings(path).count(), 0, "{path}");
    }
    for (path, reading) in [
        ("//internal", "/internal"),
        ("/a//b", "/a/b"),
        ("/%2finternal", "//internal"),
        ("/%2Finternal", "/internal"),
        ("/internal;x", "/internal"),
        ("/internal%3Bx/y", "/internal/y"),
        ("/\\internal", "/internal"),
        ("/%5cinternal", "//internal"),
        ("/a;x//b%2Fc", "/a/b/c"),
        ("/a;x//b%2Fc", "/a/b%2Fc"),
    ] {
        let mut all = readings(path);
        assert!(all.any(|one| one == reading), "{path}: {reading}");
    }
    assert!(readings("/a;b//c\\d%2fe").count() <= 15);
}

fn rules(random: &mut fastrand::Rng) -> PathRules {
    let odd = |random: &mut fastrand::Rng| {
        if random.bool() {
            Oddity::Keep
        } else {
            Oddity::Refuse
        }
    };
    PathRules {
        encoded_slash: [
            EncodedSlash::Keep,
            EncodedSlash::Refuse,
            EncodedSlash::Decode,
        ][random.usize(..3)],
        dot_segments: [DotSegments::Refuse, DotSegments::Resolve][random.usize(..2)],
        double_slash: [DoubleSlash::Keep, DoubleSlash::Merge, DoubleSlash::Refuse]
            [random.usize(..3)],
        backslash: odd(random),
        parameters: odd(random),
        bad_encoding: odd(random),
        ambiguous: odd(random),
    }
}

/// Whatever the path and the rules: what comes out hides nothing, and once more makes no difference.
#[test]
fn twice_is_once_and_nothing_is_hidden_behind() {
    const PIECES: [&str; 22] = [
        "/", "/", "//", ".", "..", "%2e", "%2E", "%2f", "%2F", "\\", "%5c", ";", ";x", "%3b", "a",
        "b", "%00", "%c0%af", "%", "%25", "%zz", "ä",
    ];
    let mut passed = 0;
    for seed in 0..40_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let rules = rules(&mut random);
        let mut path = String::from("/");
        for _ in 0..random.usize(..8) {
            path.push_str(PIECES[random.usize(..PIECES.len())]);
        }
        let Some(once) = normalize(&path, &rules) else {
            continue;
        };
        passed += 1;
        let twice = normalize(&once, &rules);
        assert_eq!(twice.as_deref(), Some(once.as_ref()), "seed {seed}: {path}");
        assert!(!has_dot_segments(&once), "seed {seed}: {path}");
        assert!(once.starts_with('/'), "seed {seed}: {path}");
        assert!(!once.contains("%00"), "seed {seed}: {path}");
        for reading in readings(&once) {
            let climbs = reading.split('/').any(is_plain_dots);
            assert!(!climbs, "seed {seed}: {path} may be read as {reading}");
        }
    }
    assert!(passed > 5_000, "{passed} are enough to mean something");
}
