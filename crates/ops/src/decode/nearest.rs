//! Which known name somebody may have meant. Never changes what was written.

/// The known name closest to `written`, if one is close enough to be worth a hint.
pub fn nearest<'n>(written: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let written = written.to_lowercase();
    known
        .into_iter()
        .filter_map(|name| Some((closeness(&written, &name.to_lowercase())?, name)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `None` is too far. A word cut short or drawn out counts as one slip.
fn closeness(written: &str, name: &str) -> Option<usize> {
    let shorter = written.len().min(name.len());
    if shorter >= 4 && (name.starts_with(written) || written.starts_with(name)) {
        return Some(1);
    }
    let allowed = (written.chars().count().max(name.chars().count()) / 3).clamp(1, 3);
    Some(distance(written, name)?).filter(|distance| *distance <= allowed)
}

/// Edits (insert, delete, replace, swap of neighbours) from one word to the other; `None` for words
/// longer than any key.
fn distance(from: &str, to: &str) -> Option<usize> {
    const WORD_CHARS_MAX: usize = 64;
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    if from.len() > WORD_CHARS_MAX || to.len() > WORD_CHARS_MAX {
        return None;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, from_char) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to_char) in to.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(from_char != to_char);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            let is_swap = i > 0 && j > 0 && *from_char == to[j - 1] && from[i - 1] == *to_char;
            if is_swap {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last()?.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 6] = [
        "address",
        "interval",
        "certificates",
        "timeouts",
        "timeout",
        "max_connections",
    ];

    fn meant(written: &str) -> Option<&'static str> {
        nearest(written, KEYS)
    }

    #[test]
    fn one_slip_is_understood() {
        assert_eq!(meant("adress"), Some("address"));
        assert_eq!(meant("addresss"), Some("address"));
        assert_eq!(meant("intreval"), Some("interval"));
        assert_eq!(meant("max-connections"), Some("max_connections"));
        assert_eq!(meant("Interval"), Some("interval"));
    }

    #[test]
    fn word_cut_short_is_understood() {
        assert_eq!(meant("cert"), Some("certificates"));
        assert_eq!(meant("interval_ms"), Some("interval"));
    }

    #[test]
    fn closest_of_several_wins() {
        assert_eq!(meant("timeouts"), Some("timeouts"));
        assert_eq!(meant("timeou"), Some("timeouts"));
        assert_eq!(meant("tiemout"), Some("timeout"));
    }

    #[test]
    fn far_words_get_no_hint() {
        for word in ["", "x", "upstream", "intercom", "zzzzzzzz"] {
            assert_eq!(meant(word), None, "{word}");
        }
        assert_eq!(meant(&"a".repeat(10_000)), None);
    }

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("ab", "ba", 1),
            ("abcd", "ad", 2),
            ("ad", "abcd", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from, to), Some(edits), "{from} {to}");
        }
    }
}
