//! What is said of names that nothing has: which one was meant, and which there are. Never shows more of
//! them than somebody reads.

use portcullis_ops::decode::nearest;

/// As many names as somebody reads.
const LISTED_MAX: usize = 50;

/// A sentence for each: there is none of this kind called `name`, which was meant, and what there is.
pub(crate) fn no_such<'n>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> String {
    let (meant, listed) = (meant(name, known.clone()), listed(known));
    format!("There is no such {kind}. {meant}There are: {listed}.")
}

/// A question and a space, or nothing when no name comes near.
pub(crate) fn meant<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let meant = nearest(name, known);
    meant.map_or_else(String::new, |meant| format!("Did you mean `{meant}`? "))
}

/// The names, or that there are none.
pub(crate) fn listed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > LISTED_MAX => {
            let shown = names[..LISTED_MAX].join(", ");
            format!("{shown} and {} more", count - LISTED_MAX)
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nothing_has_is_answered_with_what_there_is() {
        let told = |name| no_such("cluster", name, ["auth", "shop"].into_iter());
        assert_eq!(
            told("auht"),
            "There is no such cluster. Did you mean `auth`? There are: auth, shop."
        );
        assert_eq!(
            told("x"),
            "There is no such cluster. There are: auth, shop."
        );
        let none = no_such("flag", "x", std::iter::empty());
        assert_eq!(none, "There is no such flag. There are: none.");
        let many = listed(std::iter::repeat_n("n", 60));
        assert!(many.ends_with("n, n and 10 more"), "{many}");
    }
}
