//! The families of one edge, and how series of what is gone are taken out of them. Never takes one out that
//! somebody may still count in: whoever asks for it says what is gone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

/// Everything that is rendered.
#[derive(Debug, Default)]
pub(super) struct Registry {
    all: prometheus::Registry,
    labelled: Mutex<Vec<Labelled>>,
}

/// A family with labels.
#[derive(Clone, Debug)]
pub(super) enum Labelled {
    Counters(IntCounterVec),
    Gauges(IntGaugeVec),
    Histograms(HistogramVec),
}

/// Labels of one series.
pub(super) type Labels<'m> = HashMap<&'m str, &'m str>;

impl Registry {
    /// Has a family rendered.
    pub(super) fn register(&self, family: Box<dyn Collector>) -> prometheus::Result<()> {
        self.all.register(family)
    }

    /// Has a family rendered whose series come and go.
    pub(super) fn keep(&self, family: Labelled) {
        let mut labelled = self.labelled.lock().unwrap_or_else(PoisonError::into_inner);
        labelled.push(family);
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.all.gather()
    }

    /// Takes out every series that is gone by its labels; `last` is told of each with its family and what
    /// it had counted.
    pub(super) fn forget(
        &self,
        is_gone: impl Fn(&Labels<'_>) -> bool,
        mut last: impl FnMut(&str, &Labels<'_>, f64),
    ) {
        let labelled = self.labelled.lock().unwrap_or_else(PoisonError::into_inner);
        for family in labelled.iter() {
            for gathered in family.collect() {
                for metric in gathered.get_metric() {
                    let labels = metric.get_label().iter();
                    let labels: Labels<'_> = labels.map(|one| (one.name(), one.value())).collect();
                    if is_gone(&labels) && family.remove(&labels) {
                        last(gathered.name(), &labels, metric.get_counter().get_value());
                    }
                }
            }
        }
    }
}

impl Labelled {
    fn collect(&self) -> Vec<MetricFamily> {
        match self {
            Self::Counters(vec) => vec.collect(),
            Self::Gauges(vec) => vec.collect(),
            Self::Histograms(vec) => vec.collect(),
        }
    }

    /// Whether it was there.
    fn remove(&self, labels: &Labels<'_>) -> bool {
        let removed = match self {
            Self::Counters(vec) => vec.remove(labels),
            Self::Gauges(vec) => vec.remove(labels),
            Self::Histograms(vec) => vec.remove(labels),
        };
        removed.is_ok()
    }
}

impl From<IntCounterVec> for Labelled {
    fn from(vec: IntCounterVec) -> Self {
        Self::Counters(vec)
    }
}

impl From<IntGaugeVec> for Labelled {
    fn from(vec: IntGaugeVec) -> Self {
        Self::Gauges(vec)
    }
}

impl From<HistogramVec> for Labelled {
    fn from(vec: HistogramVec) -> Self {
        Self::Histograms(vec)
    }
}
