//! Passwords that are no secret although no list has them: a common word with something around it, keys in a row, the
//! same again. A list of thousands is a sample of these; the rules are what it is a sample of. Never asks for kinds of
//! characters.

/// Words that common passwords are made of, each at least four letters long, in lower case.
const STEMS: &str = include_str!("stems.txt");

/// Keys beside each other, as fingers walk over them.
const WALKS: [&str; 9] = [
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "azertyuiop",
    "1234567890",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "abcdefghijklmnopqrstuvwxyz",
];
/// Keys in a row that are as good as one.
const WALKED: usize = 4;
/// The longest thing whose repetition is a pattern.
const UNIT_CHARS: usize = 5;
const REPEATED_CHARS: usize = 24;

/// Whether a password, in lower case, is one of the first that are tried.
pub(super) fn is_common(folded: &str) -> bool {
    is_repeated(folded) || is_walked(folded) || is_word(folded)
}

/// `abcabcabc`, `11111111`, `hellohello`. What goes on for longer is nobody's first guess.
fn is_repeated(text: &str) -> bool {
    let chars: Vec<char> = text.chars().take(REPEATED_CHARS + 1).collect();
    chars.len() <= REPEATED_CHARS
        && (1..=UNIT_CHARS).any(|unit| {
            chars.len() >= 2 * unit && chars.iter().zip(&chars[unit..]).all(|(a, b)| a == b)
        })
}

/// Nothing but keys in rows of [`WALKED`] or more, forward or backward, such as `qwer4321` or `asdfghjk1234`; three
/// characters at either end may be something else.
fn is_walked(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut walked) = (0, 0);
    while at < chars.len() {
        let length = walk_from(&chars[at..]);
        if length >= WALKED {
            (at, walked) = (at + length, walked + length);
        } else {
            at += 1;
        }
    }
    walked > 0 && chars.len() - walked <= 3
}

/// How many characters from the first on stand beside each other in one of the rows.
fn walk_from(chars: &[char]) -> usize {
    let forward = WALKS.iter().map(|row| longest_in(row.chars(), chars));
    let backward = WALKS.iter().map(|row| longest_in(row.chars().rev(), chars));
    forward.chain(backward).max().unwrap_or(0)
}

fn longest_in(row: impl Iterator<Item = char> + Clone, chars: &[char]) -> usize {
    let Some(first) = chars.first() else {
        return 0;
    };
    let rest = row.skip_while(|key| key != first);
    rest.zip(chars)
        .take_while(|(key, typed)| key == *typed)
        .count()
}

/// `dragon2024!`, `Dr4g0n99`, `monkeymonkey`: a word or the same word twice, with up to six digits and signs around it.
fn is_word(text: &str) -> bool {
    let is_around = |whole: &str, stem: &str| whole.chars().count() - stem.chars().count() <= 6;
    let stem = trimmed(text);
    let spelled: String = text.chars().map(spelled_out).collect();
    let stem_spelled: String = stem.chars().map(spelled_out).collect();
    let is_common = is_stem(stem) || is_stem(&stem_spelled);
    let spelled_stem = trimmed(&spelled);
    is_common && is_around(text, stem) || is_stem(spelled_stem) && is_around(&spelled, spelled_stem)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphabetic())
}

fn is_stem(stem: &str) -> bool {
    let half = stem.len() / 2;
    let is_twice = stem.len().is_multiple_of(2) && stem.is_char_boundary(half) && {
        let (first, second) = stem.split_at(half);
        first == second
    };
    let word = if is_twice { &stem[..half] } else { stem };
    STEMS.lines().any(|known| known == word || known == stem)
}

/// The letter that a digit or sign is written for.
fn spelled_out(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_b07_words_with_something_around_them_rows_of_keys_and_repetitions_are_common() {
        for text in [
            "dragon2024!",
            "dr4g0n99",
            "monkeymonkey",
            "!!welcome!!",
            "p@ssw0rd123",
            "letmein1234",
            "qwer4321",
            "asdfghjk1234",
            "xqwertyuiop",
            "1qaz2wsx3edc",
            "zyxwvuts",
            "abcabcabc",
            "11111111",
            "hallohallo",
            "ñññññññññ",
        ] {
            assert!(is_common(text), "{text}");
        }
    }

    #[test]
    fn what_only_contains_a_common_word_is_not_common() {
        for text in [
            "correct horse battery",
            "my dragon sleeps at noon",
            "dragonfly over the pond",
            "monkey see, monkey do!",
            "12 welcome mats 34",
            "dragon20260314",
            "tr0ub4dor&3x",
            "пароль-с-пробелом",
            "xk7qwer9mz",
            "        x",
            "🔒🗝🛡🏰⚔🐉🧙🏹",
        ] {
            assert!(!is_common(text), "{text}");
        }
    }

    #[test]
    fn the_stems_are_clean() {
        let words: Vec<_> = STEMS.lines().collect();
        assert!(words.len() >= 300, "{}", words.len());
        for word in &words {
            let is_word = word.chars().all(|c| c.is_ascii_lowercase());
            assert!(is_word && word.len() >= 4, "{word}");
        }
        let mut sorted = words.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted, words, "in order, each once");
    }
}
