//! Numbers of a measurement: what a sample says, and what the kernel and other programs print.
//! Never reads a file and never starts anything.

/// Middle, smallest and largest of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle value; the mean of the two middle ones where their number is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// `None` without values.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Spread {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

/// Its figures as a table shows them: the middle, and the ends where they differ; a dash where nothing was measured.
pub fn shown(spread: Option<Spread>) -> String {
    let Some(spread) = spread else {
        return "-".to_owned();
    };
    if spread.min == spread.max {
        return number(spread.median);
    }
    let [median, min, max] = [spread.median, spread.min, spread.max].map(number);
    format!("{median} ({min} to {max})")
}

/// Three digits that matter.
pub fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// The value that `percent` of the values do not exceed (nearest rank); `None` without values.
pub fn percentile(values: &mut [f64], percent: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * percent / 100.0).ceil() as usize;
    values
        .get(rank.saturating_sub(1).min(values.len().checked_sub(1)?))
        .copied()
}

/// Time on a processor so far, from the text of a `schedstat`.
pub fn schedstat_nanoseconds(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// Proportional memory, from the text of a `smaps_rollup`.
pub fn pss_kilobytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// All time and stolen time of all cores in ticks, from the text of `/proc/stat`.
pub fn machine_and_stolen_ticks(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    // Guests' time, behind the eighth field, is counted in the first two already.
    Some((ticks.iter().take(8).sum(), *ticks.get(7)?))
}

/// What a load generator says it did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests answered.
    pub requests: u64,
    /// Of these or besides them: failed.
    pub failed: u64,
}

/// What `wrk` printed.
pub fn wrk_load(text: &str) -> Option<Load> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let requests = line.split_ascii_whitespace().next()?.parse().ok()?;
    let socket_errors = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Socket errors:"))
        .map_or(0, numbers_sum);
    let bad_answers = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses:"))
        .map_or(0, numbers_sum);
    Some(Load {
        requests,
        failed: socket_errors + bad_answers,
    })
}

/// What `h2load` printed.
pub fn h2load_load(text: &str) -> Option<Load> {
    let counts = text
        .lines()
        .find_map(|line| line.strip_prefix("requests:"))?;
    let count = |word: &str| {
        let part = counts.split(',').find(|part| part.trim().ends_with(word))?;
        part.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Load {
        requests: count("succeeded")?,
        failed: count("failed")? + count("errored")? + count("timeout")?,
    })
}

/// Sum of the column `calls` of a table of `strace -c`.
pub fn strace_calls(text: &str) -> Option<u64> {
    let mut rows = text.lines().skip_while(|line| !line.contains("usecs/call"));
    rows.next()?;
    let calls = rows.filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_total = fields.last() == Some(&"total");
        (!is_total && fields.len() >= 5)
            .then(|| fields[3].parse::<u64>().ok())
            .flatten()
    });
    Some(calls.sum())
}

fn numbers_sum(text: &str) -> u64 {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests;
