//! The samples of the operator's guide, parsed as a user would get them. Never starts an edge.

use super::*;

/// What samples leave out, in front of them and behind them.
fn completed(sample: &str) -> String {
    let mut text = sample.to_owned();
    if !sample.contains("listeners:") {
        text.insert_str(0, "listeners: [{ address: 127.0.0.1:8080 }]\n");
    }
    if !sample.contains("routes:") {
        text.push_str("routes: [{ cluster: app }]\n");
    }
    text
}

/// How many samples the guide has.
fn sound_samples(guide: &str) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let guide = std::fs::read_to_string(path.join(guide)).unwrap();
    let samples = guide.split("```yaml\n").skip(1);
    let samples = samples.map(|rest| rest.split_once("```").expect("an end").0);
    let mut count = 0;
    for sample in samples {
        let warnings = good(&completed(sample)).warnings;
        assert!(warnings.is_empty(), "{warnings}\n{sample}");
        count += 1;
    }
    count
}

#[test]
fn samples_of_the_traffic_guide_are_sound_and_warn_of_nothing() {
    assert!(sound_samples("traffic.md") > 5);
}

#[test]
fn samples_of_the_guide_to_tokens_are_sound_and_warn_of_nothing() {
    assert!(sound_samples("tokens.md") > 1);
}

#[test]
fn samples_of_the_guide_to_flags_are_sound_and_warn_of_nothing() {
    assert!(sound_samples("flags.md") > 1);
}

#[test]
fn samples_of_the_guide_to_operating_are_sound_and_warn_of_nothing() {
    assert!(sound_samples("admin.md") > 0);
}
