//! The path expressions of one host, asked all at once. Never slower than the path is long, unless
//! together they would need too much memory.
//!
//! All expressions become one automaton that reads the path once and then knows every one that
//! matches. Where it would be too large, they are tried one after the other; each is linear still.

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::PatternID;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::Hir;

use super::choices::Choices;
use super::details::Details;
use super::regex::Regex;

#[derive(Clone, Debug)]
pub(super) struct Expressions<T> {
    /// The most specific first.
    rules: Vec<(Regex, Choices<T>)>,
    together: Option<dense::DFA<Vec<u32>>>,
}

impl<T> Default for Expressions<T> {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            together: None,
        }
    }
}

impl<T> Expressions<T> {
    /// Arranges rules of which no two have the same expression.
    pub(super) fn new(mut rules: Vec<(Regex, Choices<T>)>) -> Self {
        rules.sort_by(|a, b| b.0.cmp(&a.0));
        let whole: Vec<&Hir> = rules.iter().map(|(regex, _)| regex.whole()).collect();
        let together = (!rules.is_empty()).then(|| automaton(&whole)).flatten();
        Self { rules, together }
    }

    /// The target of the greatest expression that matches and whose conditions are fulfilled.
    #[inline]
    pub(super) fn find(&self, path: &str, details: &impl Details) -> Option<&T> {
        if self.rules.is_empty() {
            return None;
        }
        match &self.together {
            Some(together) => self.find_together(together, path.as_bytes(), details),
            None => self
                .rules
                .iter()
                .filter(|(regex, _)| regex.is_match(path.as_bytes()))
                .find_map(|(_, choices)| choices.find(details)),
        }
    }

    fn find_together(
        &self,
        together: &dense::DFA<Vec<u32>>,
        path: &[u8],
        details: &impl Details,
    ) -> Option<&T> {
        let input = Input::new(path).anchored(Anchored::Yes);
        let mut state = together.start_state_forward(&input).ok()?;
        for byte in path {
            state = together.next_state(state, *byte);
            if together.is_special_state(state)
                && (together.is_dead_state(state) || together.is_quit_state(state))
            {
                return None;
            }
        }
        state = together.next_eoi_state(state);
        if !together.is_match_state(state) {
            return None;
        }
        let mut best: Option<(usize, &T)> = None;
        for index in 0..together.match_len(state) {
            let position = PatternID::as_usize(&together.match_pattern(state, index));
            let is_better = best.is_none_or(|(known, _)| position < known);
            let rule = self.rules.get(position).filter(|_| is_better);
            if let Some(target) = rule.and_then(|(_, choices)| choices.find(details)) {
                best = Some((position, target));
            }
        }
        best.map(|(_, target)| target)
    }
}

/// `None` if the expressions together are too large.
fn automaton(whole: &[&Hir]) -> Option<dense::DFA<Vec<u32>>> {
    let program = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(AUTOMATON_BYTES_MAX))
        .which_captures(WhichCaptures::None);
    let nfa = thompson::Compiler::new()
        .configure(program)
        .build_many_from_hir(whole)
        .ok()?;
    let bounds = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Anchored)
        .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
        .determinize_size_limit(Some(AUTOMATON_BYTES_MAX));
    dense::Builder::new()
        .configure(bounds)
        .build_from_nfa(&nfa)
        .ok()
}

/// For one host. A hundred expressions of a usual length need a tenth.
const AUTOMATON_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn expressions(sources: &[&str]) -> Expressions<String> {
        let rule = |source: &&str| {
            let target = vec![(Default::default(), (*source).to_owned())];
            (Regex::new(source).unwrap(), Choices::new(target))
        };
        Expressions::new(sources.iter().map(rule).collect())
    }

    #[test]
    fn the_longest_expression_that_matches_wins() {
        let all = expressions(&["/a.*", "/a[a-z]+", "/a[a-z]*b", "/x"]);
        assert!(all.together.is_some());
        for (path, expected) in [
            ("/ab", Some("/a[a-z]*b")),
            ("/ac", Some("/a[a-z]+")),
            ("/a1", Some("/a.*")),
            ("/x", Some("/x")),
            ("/xx", None),
            ("", None),
            ("/b/ab", None),
        ] {
            assert_eq!(all.find(path, &()).map(String::as_str), expected, "{path}");
        }
    }

    #[test]
    fn expressions_too_large_together_are_tried_one_by_one() {
        let sources: Vec<String> = (0..40).map(|n| format!(".*[a-f]{{{n}}}x.{{9}}")).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let all = expressions(&sources);
        assert!(all.together.is_none());
        let found = all.find("/aaax123456789", &()).map(String::as_str);
        assert_eq!(found, Some(".*[a-f]{3}x.{9}"));
        assert_eq!(all.find("/y", &()), None);
    }
}
