//! The report for people. Never lets what a stranger sent steer a terminal.

use std::fmt::Write;

use portcullis_probe::{Report, Verdict};

/// One line for each check, and below it what is wrong and what to do.
pub(super) fn of(report: &Report) -> String {
    let mut out = format!("{}\n\n", printable(&report.url));
    for finding in &report.findings {
        let verdict = finding.verdict.name();
        let shown = match finding.verdict {
            Verdict::Fail => verdict.to_uppercase(),
            _ => verdict.to_owned(),
        };
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            out,
            "{:<13} {shown:<8} {}",
            finding.check,
            printable(&finding.summary)
        );
        for remark in &finding.remarks {
            let _infallible = writeln!(
                out,
                "{:23}- {}\n{:25}-> {}",
                "",
                printable(&remark.what),
                "",
                printable(&remark.advice)
            );
        }
    }
    for note in &report.notes {
        let _infallible = write!(out, "\nnote: {}\n", printable(note));
    }
    let count = |verdict| report.count(verdict);
    let _infallible = write!(
        out,
        "\n{}: {} passed, {} failed, {} to look at, {} skipped; {} requests in {:.1} s",
        if report.is_good() { "good" } else { "not good" },
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::Warn),
        count(Verdict::Skipped),
        report.requests,
        report.took.as_secs_f64()
    );
    out
}

/// Without control characters: names and errors come from strangers.
pub(super) fn printable(text: &str) -> String {
    let shown = text.chars();
    shown
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_probe::{Check, Finding, Remark};

    use super::*;

    #[test]
    fn every_finding_gets_a_line_and_every_remark_an_advice() {
        let finding = |check, verdict, remarks| Finding {
            check,
            verdict,
            summary: "seen\u{1b}[2J".to_owned(),
            remarks,
            figures: serde_json::Map::new(),
        };
        let remark = Remark {
            what: "wrong".to_owned(),
            advice: "mend it".to_owned(),
        };
        let report = Report {
            url: "http://127.0.0.1/".to_owned(),
            findings: vec![
                finding(Check::Health, Verdict::Pass, vec![]),
                finding(Check::Affinity, Verdict::Fail, vec![remark]),
            ],
            notes: vec!["be careful".to_owned()],
            requests: 12,
            took: Duration::from_millis(1_500),
        };
        let expected = "\
http://127.0.0.1/

health        pass     seen?[2J
affinity      FAIL     seen?[2J
                       - wrong
                         -> mend it

note: be careful

not good: 1 passed, 1 failed, 0 to look at, 0 skipped; 12 requests in 1.5 s";
        assert_eq!(of(&report), expected);
    }
}
