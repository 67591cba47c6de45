//! Figures of a run: for each case and site the values of all rounds. Never formats.

use portcullis_testkit::measure::Spread;
use serde_json::{Value, json};

use crate::cases::{Bound, Figure, TARGETS, Target};

/// One measurement of one case; what was not there to be measured is `None`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) per_second: Option<f64>,
    /// Microseconds of processor time per request: of the instances, or of the bare work.
    pub(crate) cpu: f64,
    pub(crate) postgres: Option<f64>,
    pub(crate) redis: Option<f64>,
    /// Of the clients.
    pub(crate) load: Option<f64>,
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    /// Index of the site; `None` for what needs none.
    pub(crate) site: Option<usize>,
    rounds: Vec<Measured>,
}

/// What became of a target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) value: f64,
    pub(crate) is_met: bool,
}

#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rows: Vec<Row>,
}

impl Results {
    pub(crate) fn add(
        &mut self,
        (key, title): (&'static str, &'static str),
        site: Option<usize>,
        measured: Measured,
    ) {
        let is_row = |row: &Row| row.key == key && row.site == site;
        let index = self.rows.iter().position(is_row).unwrap_or_else(|| {
            self.rows.push(Row {
                key,
                title,
                site,
                rounds: Vec::new(),
            });
            self.rows.len() - 1
        });
        self.rows[index].rounds.push(measured);
    }

    /// The row of a case at a site; bare work is every site's.
    pub(crate) fn row(&self, key: &str, site: usize) -> Option<&Row> {
        let is_row = |row: &&Row| row.key == key && row.site.is_none_or(|of| of == site);
        self.rows.iter().find(is_row)
    }

    /// What the target asks about; `None` where it was not measured.
    pub(crate) fn verdict(&self, target: &Target, site: usize) -> Option<Verdict> {
        let cpu = |key| Some(self.row(key, site)?.spread(|one| Some(one.cpu))?.median);
        let rate = |key| {
            let row = self.row(key, site)?;
            Some(row.spread(|one| one.per_second)?.median)
        };
        let value = match target.figure {
            Figure::Cpu(key) => cpu(key)?,
            Figure::Rate(key) => rate(key)?,
            Figure::CpuRatio(key, to) => cpu(key)? / cpu(to)?,
            Figure::RateRatio(key, to) => rate(key)? / rate(to)?,
        };
        let is_met = match target.bound {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        };
        Some(Verdict { value, is_met })
    }

    pub(crate) fn json(&self, sites: &[&str]) -> Value {
        let rows = self.rows.iter().map(|row| {
            let values = |of: fn(&Measured) -> Option<f64>| -> Vec<Option<f64>> {
                row.rounds.iter().map(of).collect()
            };
            json!({
                "case": row.key,
                "title": row.title,
                "site": row.site.map(|site| sites[site]),
                "per_second": values(|one| one.per_second),
                "cpu_us_per_request": values(|one| Some(one.cpu)),
                "postgres_us_per_request": values(|one| one.postgres),
                "redis_us_per_request": values(|one| one.redis),
                "load_us_per_request": values(|one| one.load),
            })
        });
        let targets = TARGETS.iter().map(|target| {
            let verdicts = (0..sites.len()).map(|site| {
                let verdict = self.verdict(target, site);
                verdict.map(|verdict| json!({ "value": verdict.value, "is_met": verdict.is_met }))
            });
            let (least, most) = match target.bound {
                Bound::AtLeast(least) => (Some(least), None),
                Bound::AtMost(most) => (None, Some(most)),
            };
            json!({
                "target": target.title,
                "at_least": least,
                "at_most": most,
                "sites": verdicts.collect::<Vec<_>>(),
            })
        });
        json!({ "cases": rows.collect::<Vec<_>>(), "targets": targets.collect::<Vec<_>>() })
    }
}

impl Row {
    /// Of all rounds.
    pub(crate) fn spread(&self, of: fn(&Measured) -> Option<f64>) -> Option<Spread> {
        let values: Vec<f64> = self.rounds.iter().filter_map(of).collect();
        Spread::of(&values)
    }
}
