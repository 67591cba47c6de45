//! Whether the machine let the run alone. Never repairs a figure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::machine::{Cores, machine_and_stolen_ticks};
use crate::measure::Spread;

/// A spin this much longer than the first ones is disturbed.
const DRIFT: f64 = 0.15;
/// Disturbed spins of a run that may still be trusted, besides one: medians bear some.
const DISTURBED_SHARE: f64 = 0.10;
/// Stolen time of a run that may still be trusted.
const STOLEN_SHARE: f64 = 0.01;
/// Lateness of the open loop's 99th percentile, in microseconds, that may still be trusted.
const LATE_US: f64 = 500.0;

/// Observes the machine from its making on.
pub struct Noise {
    cores: Cores,
    baseline: f64,
    spins: Vec<f64>,
    lateness_us: Vec<f64>,
    ticks: (u64, u64),
}

/// What it comes to.
pub struct Verdict {
    /// Why the figures cannot be trusted; empty if they can.
    pub reasons: Vec<String>,
    /// The observations in one sentence.
    pub summary: String,
    spins: Vec<f64>,
}

impl Noise {
    /// Takes the machine as it is now for the measure.
    pub fn calibrate(cores: &Cores) -> Noise {
        let spins: Vec<f64> = (0..7).map(|_| cores.spin()).collect();
        Noise {
            cores: cores.clone(),
            // The least disturbed one.
            baseline: Spread::of(&spins).map_or(1.0, |spread| spread.min),
            spins: spins.clone(),
            lateness_us: Vec::new(),
            ticks: machine_and_stolen_ticks(),
        }
    }

    /// To be called between measurements, when nothing that is measured has anything to do.
    pub fn observe(&mut self) {
        self.spins.push(self.cores.spin());
    }

    /// To be called with what the open loop says of itself.
    pub fn observe_lateness(&mut self, p99_us: f64) {
        self.lateness_us.push(p99_us);
    }

    /// What was observed so far.
    pub fn verdict(&self) -> Verdict {
        let drifts: Vec<f64> = self
            .spins
            .iter()
            .map(|spin| spin / self.baseline - 1.0)
            .collect();
        let disturbed = drifts.iter().filter(|drift| drift.abs() > DRIFT).count();
        let disturbed_share = disturbed as f64 / drifts.len().max(1) as f64;
        let median_drift = Spread::of(&drifts).map_or(0.0, |spread| spread.median);
        let (total, stolen) = machine_and_stolen_ticks();
        let stolen_share = (stolen - self.ticks.1) as f64 / (total - self.ticks.0).max(1) as f64;
        let late = Spread::of(&self.lateness_us).map_or(0.0, |spread| spread.median);
        let mut reasons = Vec::new();
        if disturbed > 1 && disturbed_share > DISTURBED_SHARE {
            reasons.push(format!(
                "{disturbed} of {} spins took over {:.0} % longer or shorter than at the start",
                drifts.len(),
                DRIFT * 100.0
            ));
        }
        if median_drift.abs() > DRIFT {
            reasons.push(format!(
                "the machine's speed changed by {:.0} %",
                median_drift * 100.0
            ));
        }
        if stolen_share > STOLEN_SHARE {
            reasons.push(format!(
                "{:.1} % of the time was stolen",
                stolen_share * 100.0
            ));
        }
        if late > LATE_US {
            reasons.push(format!("the open loop sent {late:.0} us late (p99)"));
        }
        let mut summary = format!(
            "{} spins of {:.1} ms, {disturbed} disturbed, median drift {:+.1} %; {:.2} % of the time stolen",
            drifts.len(),
            self.baseline * 1e3,
            median_drift * 100.0,
            stolen_share * 100.0
        );
        if !self.lateness_us.is_empty() {
            let _ = write!(summary, "; open loop {late:.0} us late (p99)");
        }
        Verdict {
            reasons,
            summary,
            spins: self.spins.clone(),
        }
    }
}

impl Verdict {
    /// Whether there is any reason not to trust the figures.
    pub fn is_noisy(&self) -> bool {
        !self.reasons.is_empty()
    }

    /// One line for every output.
    pub fn line(&self) -> String {
        if self.is_noisy() {
            format!("NOISY, DO NOT TRUST: {}.", self.reasons.join("; "))
        } else {
            "The machine was quiet.".to_owned()
        }
    }

    /// All of it.
    pub fn json(&self) -> Value {
        json!({
            "is_noisy": self.is_noisy(),
            "reasons": self.reasons,
            "summary": self.summary,
            "spins_seconds": self.spins,
        })
    }
}
