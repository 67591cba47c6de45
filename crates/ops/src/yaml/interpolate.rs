//! `${NAME}` and `${NAME:-default}` in one scalar. Never looks a variable up in any other way than asked to.

use super::Lookup;

/// Why a scalar could not be completed. `text` is the part to point at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) text: String,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Mistake {
    fn new(text: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// `text` with every variable replaced. `budget` is what variables may still add to the document.
pub(super) fn interpolate(
    text: &str,
    lookup: &Lookup<'_>,
    budget: &mut usize,
) -> Result<String, Mistake> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, dollar)) = rest.find('$').map(|at| rest.split_at(at)) {
        done.push_str(before);
        rest = if let Some(after) = dollar.strip_prefix("$$") {
            done.push('$');
            after
        } else if let Some(after) = dollar.strip_prefix("${") {
            let Some((expression, after)) = after.split_once('}') else {
                let hint = "close it: ${NAME}; for a plain dollar sign write $$";
                return Err(Mistake::new("${", "`${` is never closed", hint));
            };
            let value = evaluate(expression, lookup)?;
            *budget = budget.checked_sub(value.len()).ok_or_else(|| {
                let message = format!("`${{{expression}}}` makes the document too large");
                Mistake::new("${", message, "keep large values in files")
            })?;
            done.push_str(&value);
            after
        } else {
            done.push('$');
            &dollar[1..]
        };
    }
    done.push_str(rest);
    Ok(done)
}

fn evaluate(expression: &str, lookup: &Lookup<'_>) -> Result<String, Mistake> {
    let whole = format!("${{{expression}");
    if expression.contains("${") {
        let message = format!("`{whole}` has a variable inside a variable");
        return Err(Mistake::new(
            &whole,
            message,
            "a default is plain text: ${NAME:-default}",
        ));
    }
    let (name, default) = match expression.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (expression, None),
    };
    if !is_name(name) {
        let message = format!("`{name}` is not the name of a variable");
        let hint = "letters, digits and _ only: ${NAME} or ${NAME:-default}";
        return Err(Mistake::new(&whole, message, hint));
    }
    // As in a shell, `:-` also replaces a variable that is set to nothing.
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let message = format!("the environment has no variable `{name}`");
            let hint = format!("set it, or give a default: ${{{name}:-value}}");
            Err(Mistake::new(&whole, message, hint))
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_inner)
        && name
            .bytes()
            .next()
            .is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("10.0.0.1".to_owned()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    fn value(text: &str) -> String {
        interpolate(text, &lookup, &mut 1000).unwrap()
    }

    fn mistake(text: &str) -> Mistake {
        interpolate(text, &lookup, &mut 1000).unwrap_err()
    }

    #[test]
    fn text_without_variables_stays() {
        assert_eq!(value("plain: text"), "plain: text");
        assert_eq!(value(""), "");
    }

    #[test]
    fn variable_is_replaced_wherever_it_stands() {
        assert_eq!(value("${HOST}"), "10.0.0.1");
        assert_eq!(value("a${HOST}:${HOST}b"), "a10.0.0.1:10.0.0.1b");
    }

    #[test]
    fn default_serves_when_unset_or_empty() {
        assert_eq!(value("${NONE:-certs}/a.pem"), "certs/a.pem");
        assert_eq!(value("${EMPTY:-certs}"), "certs");
        assert_eq!(value("${NONE:-}"), "");
        assert_eq!(value("${HOST:-certs}"), "10.0.0.1");
        assert_eq!(value("${NONE:-a:-b}"), "a:-b");
    }

    #[test]
    fn empty_variable_without_default_is_empty() {
        assert_eq!(value("[${EMPTY}]"), "[]");
    }

    #[test]
    fn doubled_dollar_is_one_and_never_a_variable() {
        assert_eq!(value("$$"), "$");
        assert_eq!(value("$${HOST}"), "${HOST}");
        assert_eq!(value("$$$${HOST}"), "$${HOST}");
    }

    #[test]
    fn lone_dollar_stays() {
        assert_eq!(value("US$ 5 $HOST $"), "US$ 5 $HOST $");
    }

    #[test]
    fn value_of_a_variable_is_never_looked_into() {
        assert_eq!(value("${DOLLAR}"), "${HOST}");
    }

    #[test]
    fn missing_variable_is_named_with_a_way_out() {
        let mistake = mistake("x${NONE}");
        assert!(mistake.message.contains("`NONE`"), "{mistake:?}");
        assert!(mistake.hint.contains("${NONE:-value}"), "{mistake:?}");
        assert_eq!(mistake.text, "${NONE");
    }

    #[test]
    fn unclosed_variable_is_refused() {
        assert!(mistake("${HOST").message.contains("never closed"));
    }

    #[test]
    fn bad_names_are_refused() {
        for text in [
            "${}",
            "${1A}",
            "${A-B}",
            "${A B}",
            "${:-x}",
            "${HOST:x}",
            "${Ä}",
        ] {
            assert!(mistake(text).message.contains("not the name"), "{text}");
        }
    }

    #[test]
    fn nested_variables_are_refused() {
        assert!(mistake("${NONE:-${HOST}}").message.contains("inside"));
    }

    #[test]
    fn growth_is_bounded_over_all_scalars() {
        let mut budget = 20;
        assert!(interpolate("${HOST}${HOST}", &lookup, &mut budget).is_ok());
        assert_eq!(budget, 4);
        assert!(interpolate("${HOST}", &lookup, &mut budget).is_err());
    }
}
