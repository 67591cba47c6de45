//! Processor time per request relative to nginx as an SVG of grouped bars. Never shows a run that
//! noise spoiled without saying so.

use std::fmt::Write as _;
use std::ops::Range;

use crate::contender::Program;
use crate::report::About;
use crate::results::{Metric, Results, Row};
use portcullis_testkit::noise::Verdict;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 84.0;
const WARNING: f64 = 16.0;
const BAR: f64 = 11.0;
const GAP: f64 = 12.0;

/// `None` without nginx or without a case to compare.
pub(crate) fn svg(results: &Results, about: &About, verdict: &Verdict) -> Option<String> {
    let nginx = results
        .contenders
        .iter()
        .position(|contender| contender.program == Program::Nginx)?;
    let rows: Vec<&Row> = results
        .rows_of(Metric::CpuMicroseconds)
        .filter(|row| row.spread(nginx).is_some())
        .collect();
    let contenders = 0..results.contenders.len();
    let ratios = rows.iter().flat_map(|row| {
        contenders
            .clone()
            .filter_map(|index| row.ratio(index, nginx))
    });
    let most = ratios.fold(None, |most: Option<f64>, ratio| {
        Some(most.map_or(ratio, |most| most.max(ratio)))
    })?;
    let most = most.ceil().max(2.0);
    let group = BAR * results.contenders.len() as f64 + GAP;
    let warnings = warnings(verdict);
    let top = TOP + WARNING * warnings.len() as f64;
    let bottom = top + group * rows.len() as f64;
    let height = bottom + 50.0;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="16" y="26" font-size="17" font-weight="bold">CPU of the proxy per request, relative to nginx (less is better)</text>
<text x="16" y="46" fill="#555555">{}</text>
"##,
        escaped(&about.machine)
    );
    for (index, warning) in warnings.iter().enumerate() {
        let _ = writeln!(
            svg,
            r##"<text x="16" y="{:.0}" fill="#c00000" font-weight="bold">{}</text>"##,
            TOP + WARNING * (index as f64 + 0.5),
            escaped(warning)
        );
    }
    legend(&mut svg, results);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    axis(&mut svg, most, scale, top..bottom);
    for (place, row) in rows.iter().enumerate() {
        let top = top + group * place as f64 + GAP / 2.0;
        let middle = top + (group - GAP) / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{middle:.1}" text-anchor="end">{}</text>"#,
            LEFT - 10.0,
            escaped(&row.title)
        );
        bars(&mut svg, results, row, nginx, top, scale);
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// Nothing for a run that can be trusted.
fn warnings(verdict: &Verdict) -> Vec<String> {
    let mut lines = verdict.reasons.clone();
    if verdict.is_noisy() {
        lines.insert(0, "NOISY, DO NOT TRUST:".to_owned());
    }
    lines
}

fn bars(svg: &mut String, results: &Results, row: &Row, nginx: usize, top: f64, scale: f64) {
    for (index, contender) in results.contenders.iter().enumerate() {
        let Some(ratio) = row.ratio(index, nginx) else {
            continue;
        };
        let y = top + BAR * index as f64;
        let _ = writeln!(
            svg,
            r##"<rect x="{LEFT}" y="{y:.1}" width="{:.1}" height="{}" fill="{}"/>
<text x="{:.1}" y="{:.1}" font-size="10" fill="#333333">{ratio:.2}</text>"##,
            ratio * scale,
            BAR - 1.0,
            contender.color,
            LEFT + ratio * scale + 4.0,
            y + BAR - 2.0,
        );
    }
}

fn legend(svg: &mut String, results: &Results) {
    let mut x = 16.0;
    for contender in &results.contenders {
        let _ = writeln!(
            svg,
            r#"<rect x="{x:.0}" y="58" width="12" height="12" fill="{}"/><text x="{:.0}" y="68">{}</text>"#,
            contender.color,
            x + 17.0,
            escaped(contender.name)
        );
        x += 40.0 + 7.0 * contender.name.len() as f64;
    }
}

fn axis(svg: &mut String, most: f64, scale: f64, height: Range<f64>) {
    let (top, bottom) = (height.start, height.end);
    // At most some ten lines, at whole numbers.
    let step = (most / 10.0).ceil();
    let mut value = 0.0;
    while value <= most {
        let x = LEFT + value * scale;
        let color = if value == 1.0 { "#333333" } else { "#dddddd" };
        let _ = writeln!(
            svg,
            r#"<line x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom:.1}" stroke="{color}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{value}</text>"#,
            bottom + 16.0
        );
        value += if value == 0.0 {
            1.0_f64.min(step)
        } else {
            step
        };
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
