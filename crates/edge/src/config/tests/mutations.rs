//! The reference with random damage: whatever the text, parsing ends with a configuration or with located
//! errors. A failure prints the seed of its text.

use super::reference::full;
use super::*;

const ROUNDS: u64 = 400;
/// Pieces that mean something to YAML, to variables or to the decoder.
const PIECES: &[&str] = &[
    "${",
    "}",
    "$$",
    "${X:-",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    "\n",
    "\n  ",
    "\t",
    "&a ",
    "*a",
    "!!str ",
    "|",
    ">",
    "?",
    "---\n",
    "%YAML 1.2\n",
    "~",
    "null",
    "off",
    "-1",
    "0",
    "1s",
    "99999999999h",
    "18446744073709551616",
    "::",
    "*.x",
    "\u{feff}",
    "\u{0}",
    "ä",
    "\u{1f512}",
    "\\x41",
    "<<: ",
];

/// One small damage.
fn damage(text: &mut Vec<char>, random: &mut fastrand::Rng) {
    let at = random.usize(..=text.len());
    let length = random.usize(..40).min(text.len() - at);
    match random.u8(..6) {
        0 => drop(text.drain(at..at + length)),
        1 => {
            let piece: Vec<char> = text[at..at + length].to_vec();
            let to = random.usize(..=text.len());
            text.splice(to..to, piece);
        }
        2 | 3 => {
            let piece = PIECES[random.usize(..PIECES.len())];
            text.splice(at..at, piece.chars());
        }
        4 if at < text.len() => text[at] = random.char(..),
        _ => text.truncate(at.max(1)),
    }
}

fn damaged(original: &str, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text: Vec<char> = original.chars().collect();
    for _ in 0..random.usize(1..8) {
        damage(&mut text, &mut random);
    }
    text.into_iter().collect()
}

fn assert_located(text: &str, errors: &Diagnostics) {
    assert!(!errors.is_empty());
    let lines = text.lines().count();
    for error in errors {
        assert!(error.line <= lines + 1, "{error}");
        assert!(!error.message.is_empty());
    }
    assert!(!errors.to_string().is_empty() && !errors.to_json().is_empty());
}

#[test]
fn damaged_reference_never_panics() {
    let (world, original) = full();
    let first = fastrand::u64(..);
    for seed in (0..ROUNDS).map(|round| first.wrapping_add(round)) {
        let text = damaged(&original, seed);
        let outcome = std::panic::catch_unwind(|| world.parse(&text));
        match outcome {
            Ok(Ok(parsed)) => assert!(!parsed.config.listeners.is_empty(), "seed {seed}"),
            Ok(Err(errors)) => assert_located(&text, &errors),
            Err(_) => panic!("seed {seed} makes the parser panic on:\n{text}"),
        }
    }
}

#[test]
fn reference_cut_at_any_line_never_panics() {
    let (world, original) = full();
    let lines: Vec<&str> = original.lines().collect();
    for end in 0..lines.len() {
        if let Err(errors) = world.parse(&lines[..end].join("\n")) {
            assert!(!errors.is_empty(), "cut before line {end}");
        }
    }
}
