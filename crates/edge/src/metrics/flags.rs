//! Metrics of feature flags. Never labels by who has one.

use portcullis_traffic::flag::{Percent, Setting};
use prometheus::{GaugeVec, IntCounter, IntCounterVec, Opts};

use super::{Metrics, Registry, counters, register};
use crate::state::Flags;

#[derive(Debug)]
pub(super) struct FlagVecs {
    decisions: IntCounterVec,
    percent: GaugeVec,
}

/// What decisions on one flag feed.
#[derive(Clone, Debug)]
pub(crate) struct FlagMetrics {
    /// Requests it was on for.
    pub(crate) on: IntCounter,
    /// Requests it was off for.
    pub(crate) off: IntCounter,
}

impl Metrics {
    /// Counters of one flag.
    pub(crate) fn flag(&self, name: &str) -> FlagMetrics {
        let counter = |result| self.flags.decisions.with_label_values(&[name, result]);
        FlagMetrics {
            on: counter("on"),
            off: counter("off"),
        }
    }
}

impl FlagVecs {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            decisions: counters(
                registry,
                "portcullis_edge_flag_decisions_total",
                "Requests that a route asked a feature flag about, by result: on or off.",
                &["flag", "result"],
            ),
            percent: register(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "portcullis_edge_flag_percent",
                        "For how many of the clients a feature flag is on now.",
                    ),
                    &["flag"],
                ),
            ),
        }
    }

    pub(super) fn forget(&self) {
        self.percent.reset();
    }

    pub(super) fn show(&self, flags: &Flags) {
        for flag in flags.all() {
            let percent = match flag.setting() {
                Setting::Off => Percent::NONE,
                Setting::On => Percent::ALL,
                Setting::Share(percent) => percent,
            };
            let gauge = self.percent.with_label_values(&[flag.name()]);
            gauge.set(f64::from(percent.hundredths()) / 100.0);
        }
    }
}
