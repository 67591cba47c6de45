//! Figures of a run: for each thing measured and each contender the values of all rounds. Never
//! formats.

use portcullis_testkit::measure::Spread;
use serde_json::{Value, json};

use crate::contender::Contender;

/// What a figure is; the tables' order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Metric {
    CpuMicroseconds,
    /// Processor time divided by that at the smallest size of a series.
    Growth,
    /// Processor time divided by that of a bare forwarder.
    Floor,
    PerSecond,
    LatencyMicroseconds,
    SystemCalls,
    MemoryMegabytes,
    MemoryKilobytesPerConnection,
}

pub(crate) const METRICS: [Metric; 8] = [
    Metric::CpuMicroseconds,
    Metric::Growth,
    Metric::Floor,
    Metric::LatencyMicroseconds,
    Metric::MemoryMegabytes,
    Metric::MemoryKilobytesPerConnection,
    Metric::SystemCalls,
    Metric::PerSecond,
];

impl Metric {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Metric::CpuMicroseconds => "CPU of the proxy per request, us",
            Metric::Growth => "CPU of the proxy per request as its site grows",
            Metric::Floor => "CPU of the proxy per request, of that of a bare forwarder",
            Metric::PerSecond => "Requests per second (closed loop)",
            Metric::LatencyMicroseconds => "Latency at a fixed rate (open loop), us",
            Metric::SystemCalls => "System calls of the proxy per request",
            Metric::MemoryMegabytes => "Memory (PSS), MB",
            Metric::MemoryKilobytesPerConnection => "Memory per idle connection, KB",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Metric::CpuMicroseconds => "cpu_us_per_request",
            Metric::Growth => "cpu_growth",
            Metric::Floor => "cpu_of_floor",
            Metric::PerSecond => "requests_per_second",
            Metric::LatencyMicroseconds => "latency_us",
            Metric::SystemCalls => "system_calls_per_request",
            Metric::MemoryMegabytes => "memory_mb",
            Metric::MemoryKilobytesPerConnection => "memory_kb_per_connection",
        }
    }
}

/// One line of a table.
pub(crate) struct Row {
    pub(crate) metric: Metric,
    pub(crate) title: String,
    /// One list for each contender, one value for each round.
    values: Vec<Vec<f64>>,
}

pub(crate) struct Results {
    pub(crate) contenders: Vec<Contender>,
    pub(crate) rows: Vec<Row>,
}

impl Results {
    pub(crate) fn new(contenders: Vec<Contender>) -> Results {
        Results {
            contenders,
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, metric: Metric, title: &str, contender: usize, value: f64) {
        let is_row = |row: &Row| row.metric == metric && row.title == title;
        let index = self.rows.iter().position(is_row).unwrap_or_else(|| {
            self.rows.push(Row {
                metric,
                title: title.to_owned(),
                values: vec![Vec::new(); self.contenders.len()],
            });
            self.rows.len() - 1
        });
        self.rows[index].values[contender].push(value);
    }

    pub(crate) fn rows_of(&self, metric: Metric) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.metric == metric)
    }

    /// Indices of the contenders that are ours, or that are not.
    pub(crate) fn indices(&self, is_ours: bool) -> Vec<usize> {
        let all = self.contenders.iter().enumerate();
        all.filter(|(_, contender)| contender.is_portcullis() == is_ours)
            .map(|(index, _)| index)
            .collect()
    }

    pub(crate) fn json(&self) -> Vec<Value> {
        let mut list = Vec::new();
        for row in &self.rows {
            for (index, contender) in self.contenders.iter().enumerate() {
                let Some(spread) = row.spread(index) else {
                    continue;
                };
                let ratios: serde_json::Map<String, Value> = self
                    .indices(false)
                    .into_iter()
                    .filter_map(|peer| Some((peer, row.ratio(index, peer)?)))
                    .map(|(peer, ratio)| (self.contenders[peer].key.to_owned(), json!(ratio)))
                    .collect();
                list.push(json!({
                    "metric": row.metric.key(),
                    "case": row.title,
                    "contender": contender.name,
                    "median": spread.median,
                    "min": spread.min,
                    "max": spread.max,
                    "rounds": row.values[index],
                    "ratio_to": ratios,
                }));
            }
        }
        list
    }
}

impl Row {
    pub(crate) fn spread(&self, contender: usize) -> Option<Spread> {
        Spread::of(&self.values[contender])
    }

    /// Ratio of two contenders' medians.
    pub(crate) fn ratio(&self, contender: usize, peer: usize) -> Option<f64> {
        let ratio = self.spread(contender)?.median / self.spread(peer)?.median;
        ratio.is_finite().then_some(ratio)
    }
}
