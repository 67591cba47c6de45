//! What the YAML dialect accepts and refuses. Never tests a key of any configuration.

use super::*;
use crate::diagnostic::{Diagnostics, Source};

fn lookup(name: &str) -> Option<String> {
    (name == "PORT").then(|| "8080".to_owned())
}

fn loaded(text: &str) -> (Option<Node>, Diagnostics) {
    let source = Source::new("f", text);
    let report = Report::new(&source);
    let node = load(&report, &lookup);
    (node, report.finish().0)
}

fn good(text: &str) -> Node {
    let (node, errors) = loaded(text);
    assert!(errors.is_empty(), "{errors}");
    node.unwrap()
}

fn one_error(text: &str) -> (usize, usize, String, String) {
    let (_, errors) = loaded(text);
    assert_eq!(errors.len(), 1, "{errors}");
    let error = errors.iter().next().unwrap();
    (
        error.line,
        error.column,
        error.message.clone(),
        error.hint.clone().unwrap_or_default(),
    )
}

fn entry<'n>(node: &'n Node, key: &str) -> &'n Entry {
    let Value::Mapping(entries) = &node.value else {
        panic!("{node:?}")
    };
    entries.iter().find(|entry| entry.key == key).unwrap()
}

fn text(node: &Node) -> &str {
    let Value::Scalar(text) = &node.value else {
        panic!("{node:?}")
    };
    text
}

#[test]
fn keys_and_scalars_know_their_place() {
    let root = good("# comment\nfirst: 1\nouter:\n  inner:   value\n");
    let inner = entry(&entry(&root, "outer").node, "inner");
    assert_eq!(
        inner.key_span,
        Span {
            line: 4,
            column: 3,
            length: 5
        }
    );
    assert_eq!(
        inner.node.span,
        Span {
            line: 4,
            column: 12,
            length: 5
        }
    );
    assert_eq!(text(&inner.node), "value");
}

#[test]
fn columns_count_characters() {
    let root = good("{ключ: значение}");
    assert_eq!(
        entry(&root, "ключ").node.span,
        Span {
            line: 1,
            column: 8,
            length: 8
        }
    );
}

#[test]
fn scalars_are_never_given_a_type() {
    let root = good("a: 1.20\nb: yes\nc: 0x1F\nd: 2026-01-01\n");
    let texts: Vec<_> = ["a", "b", "c", "d"]
        .map(|key| text(&entry(&root, key).node).to_owned())
        .into();
    assert_eq!(texts, ["1.20", "yes", "0x1F", "2026-01-01"]);
}

#[test]
fn lists_in_both_notations_are_the_same() {
    for text_of_list in ["- a\n- b\n", "[a, b]"] {
        let Value::Sequence(nodes) = good(text_of_list).value else {
            panic!()
        };
        assert_eq!(nodes.iter().map(text).collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[test]
fn addresses_are_plain_scalars_in_flow_lists() {
    let Value::Sequence(nodes) = good("[10.0.1.10:8000, a.example:1]").value else {
        panic!()
    };
    assert_eq!(
        nodes.iter().map(text).collect::<Vec<_>>(),
        ["10.0.1.10:8000", "a.example:1"]
    );
}

#[test]
fn null_is_only_what_is_plain() {
    for text in ["a:", "a: ~", "a: null", "a: NULL", "a: Null"] {
        assert_eq!(entry(&good(text), "a").node.value, Value::Null, "{text}");
    }
    for quoted in ["a: ''", "a: \"null\"", "a: '~'"] {
        assert!(
            matches!(entry(&good(quoted), "a").node.value, Value::Scalar(_)),
            "{quoted}"
        );
    }
}

#[test]
fn variables_are_replaced_in_every_style_of_scalar() {
    let root = good("a: ${PORT}\nb: \"${PORT}\"\nc: '${PORT}'\nd: |\n  ${PORT}\n");
    for key in ["a", "b", "c", "d"] {
        assert_eq!(text(&entry(&root, key).node).trim(), "8080", "{key}");
    }
}

#[test]
fn empty_default_is_text_and_not_nothing() {
    assert_eq!(text(&entry(&good("a: ${NONE:-}"), "a").node), "");
}

#[test]
fn variables_are_not_replaced_in_keys() {
    assert_eq!(entry(&good("${PORT}: 1"), "${PORT}").key, "${PORT}");
}

#[test]
fn missing_variable_is_pointed_at_and_the_rest_is_still_read() {
    let (root, errors) = loaded("a: x/${NONE}/y\nb: ${GONE}\nc: 1\n");
    let places: Vec<_> = errors
        .iter()
        .map(|e| (e.line, e.column, e.length))
        .collect();
    assert_eq!(places, [(1, 6, 6), (2, 4, 6)]);
    let root = root.unwrap();
    assert_eq!(entry(&root, "a").node.value, Value::Invalid);
    assert_eq!(text(&entry(&root, "c").node), "1");
}

#[test]
fn key_given_twice_is_pointed_at_and_names_the_first() {
    let (line, column, message, hint) = one_error("a: 1\nb: 2\na: 3\n");
    assert_eq!((line, column), (3, 1));
    assert!(message.contains("`a`"), "{message}");
    assert!(hint.contains("line 1"), "{hint}");
}

#[test]
fn first_of_two_equal_keys_stays() {
    let (root, _) = loaded("{a: 1, a: 2}");
    assert_eq!(text(&entry(&root.unwrap(), "a").node), "1");
}

#[test]
fn equal_keys_in_different_mappings_are_fine() {
    good("a: {x: 1}\nb: {x: 1}\n");
}

#[test]
fn empty_file_says_so() {
    for text in ["", "\n\n", "# only a comment\n"] {
        assert!(one_error(text).2.contains("empty"), "{text:?}");
    }
}

#[test]
fn second_document_is_refused() {
    assert_eq!(one_error("a: 1\n---\nb: 2\n").0, 2);
}

#[test]
fn explicit_single_document_is_fine() {
    good("---\na: 1\n...\n");
}

#[test]
fn unquoted_wildcard_gets_the_right_hint() {
    let (line, column, message, hint) = one_error("host: *.example.com\n");
    assert_eq!((line, column), (1, 7));
    assert!(message.contains("alias"), "{message}");
    assert!(hint.contains("quotes"), "{hint}");
    assert!(one_error("host: *\n").3.contains("quotes"));
}

#[test]
fn aliases_to_real_anchors_are_refused_too() {
    let (_, errors) = loaded("a: &x {k: 1}\nb: *x\n");
    let messages: Vec<_> = errors
        .iter()
        .map(|e| (e.line, e.message.as_str()))
        .collect();
    assert_eq!(
        messages,
        [
            (1, "anchors are not supported"),
            (2, "aliases are not supported")
        ]
    );
}

#[test]
fn merge_key_is_an_ordinary_key() {
    let (root, _) = loaded("<<: 1\n");
    assert_eq!(entry(&root.unwrap(), "<<").key, "<<");
}

#[test]
fn tags_are_refused_where_they_stand() {
    let (line, column, message, _) = one_error("a: !!str 1\n");
    assert_eq!((line, column), (1, 4));
    assert!(message.contains("tags"), "{message}");
}

#[test]
fn directives_are_refused() {
    assert_eq!(one_error("%YAML 1.2\n---\na: 1\n").0, 1);
}

#[test]
fn mapping_as_a_key_is_refused_and_the_rest_is_read() {
    let (root, errors) = loaded("? {a: 1}\n: 2\nb: 3\n");
    assert_eq!(errors.len(), 1, "{errors}");
    assert_eq!(text(&entry(&root.unwrap(), "b").node), "3");
}

#[test]
fn syntax_error_is_located() {
    let (line, column, message, hint) = one_error("a: 1\nb: @x\n");
    assert_eq!((line, column), (2, 4), "{message}");
    assert_eq!(hint, "", "nothing to say about this one");
    let (line, ..) = one_error("a: 1\nb: [1, 2\nc: 3\n");
    assert!(line >= 2, "{line}");
}

#[test]
fn hint_on_variables_needs_brackets_on_the_line() {
    assert_eq!(one_error("a: \"${PORT}\" x\n").3, "");
}

#[test]
fn tab_indentation_gets_the_right_hint() {
    assert!(one_error("a:\n\tb: 1\n").3.contains("spaces"));
}

#[test]
fn variable_in_flow_notation_gets_the_right_hint() {
    assert!(
        one_error("a: { b: ${PORT}/x, c: 1 }\n")
            .3
            .contains("quotes")
    );
}

#[test]
fn unquoted_ipv6_address_gets_the_right_hint() {
    assert!(one_error("a: [::]:8080\n").3.contains("quotes"));
}

#[test]
fn nesting_is_bounded_in_both_notations() {
    let flow = |depth: usize| format!("{}x{}", "[".repeat(depth), "]".repeat(depth));
    good(&flow(DEPTH_MAX));
    assert!(one_error(&flow(DEPTH_MAX + 1)).2.contains("nested deeper"));
    one_error(&flow(100_000));
    let block = |depth: usize| format!("{}x", "- ".repeat(depth));
    good(&block(DEPTH_MAX));
    assert!(one_error(&block(DEPTH_MAX + 1)).2.contains("nested deeper"));
    let keys = |depth: usize| format!("{}x{}", "{a: ".repeat(depth), "}".repeat(depth));
    good(&keys(DEPTH_MAX));
    assert!(one_error(&keys(DEPTH_MAX + 1)).2.contains("nested deeper"));
    let mixed = |depth: usize| {
        let lines: String = (0..20)
            .map(|level| format!("{}a:\n", " ".repeat(level)))
            .collect();
        format!(
            "{lines}{}{}x{}",
            " ".repeat(20),
            "[".repeat(depth - 20),
            "]".repeat(depth - 20)
        )
    };
    good(&mixed(DEPTH_MAX));
    assert!(one_error(&mixed(DEPTH_MAX + 1)).2.contains("nested deeper"));
}

#[test]
fn mixed_nesting_is_bounded_as_a_whole() {
    let text = format!(
        "{}{}x{}",
        "- ".repeat(DEPTH_MAX),
        "[".repeat(3),
        "]".repeat(3)
    );
    assert!(one_error(&text).2.contains("nested deeper"));
}

#[test]
fn number_of_values_is_bounded() {
    let list = |count: usize| format!("[{}]", "x,".repeat(count));
    good(&list(NODES_MAX - 1));
    assert!(one_error(&list(NODES_MAX)).2.contains("more than"));
}

#[test]
fn size_is_bounded() {
    let rest = "# \na: 1\n".len();
    let text = |bytes: usize| format!("# {}\na: 1\n", "x".repeat(bytes - rest));
    good(&text(TEXT_BYTES_MAX));
    let text = text(TEXT_BYTES_MAX + 1);
    let (line, _, message, _) = one_error(&text);
    assert_eq!(line, 0);
    assert!(message.contains("larger"), "{message}");
}

#[test]
fn flood_of_mistakes_is_read_to_its_end() {
    let flood: String = (0..50_000)
        .map(|number| format!("k{number}: ${{NONE}}\n"))
        .collect();
    let (_, errors) = loaded(&flood);
    assert_eq!(
        errors.iter().last().unwrap().message,
        "49900 more like these"
    );
}
