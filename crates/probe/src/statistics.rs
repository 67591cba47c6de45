//! What counts say about the weights they should follow. Never asks anybody anything, and draws no chance.

/// How counts compare with weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fit {
    /// How probable counts at least as odd are where the weights are followed at random. Balancers that
    /// take turns are more even than chance, so for them it is a bound.
    pub(crate) p_value: f64,
    /// The larger number is, the further is the worst count from what was expected of it: 0.5 is half as
    /// much again, or half missing.
    pub(crate) deviation: f64,
    /// Position of that worst count.
    pub(crate) worst: usize,
    /// What was expected of it.
    pub(crate) expected: f64,
}

/// Compares `counts` with `weights`, of which none may be 0; both have the same length. `independent` is
/// the share of the answers that tell something new, see [`independent_share`]. `None` where there is
/// nothing to compare.
pub(crate) fn fit(seen: &[u64], weights: &[u32], independent: f64) -> Option<Fit> {
    let scaled = |&count: &u64| (count as f64 * independent).round() as u64;
    let counts: Vec<u64> = seen.iter().map(scaled).collect();
    let total: u64 = counts.iter().sum();
    let weight: u64 = weights.iter().copied().map(u64::from).sum();
    if counts.len() < 2 || counts.len() != weights.len() || total == 0 || weights.contains(&0) {
        return None;
    }
    let share = |weight_of: u32| f64::from(weight_of) / weight as f64;
    let expected: Vec<f64> = weights.iter().map(|&w| share(w) * total as f64).collect();
    let deviation = |at: usize| (counts[at] as f64 - expected[at]).abs() / expected[at];
    let worst = (0..counts.len()).max_by(|&a, &b| deviation(a).total_cmp(&deviation(b)))?;
    let is_large = expected.iter().all(|&e| e >= LARGE);
    let p_value = if is_large {
        let squares = counts.iter().zip(&expected);
        let statistic: f64 = squares.map(|(&n, e)| (n as f64 - e).powi(2) / e).sum();
        chi_square_tail(statistic, counts.len() as u32 - 1)
    } else {
        // Chi-square flatters nobody when little is expected: ask each count alone, exactly, and pay for
        // asking several times.
        let tails = counts.iter().zip(weights);
        let least = tails.map(|(&n, &w)| binomial_two_sided(n, total, share(w)));
        (least.fold(1.0, f64::min) * counts.len() as f64).min(1.0)
    };
    Some(Fit {
        p_value,
        deviation: deviation(worst),
        worst,
        expected: expected[worst] / independent,
    })
}

/// The share of answers that tell something new, from how often (`agreements` of `pairs`) two in a row
/// came from the same. Other clients that take turns with us make a balancer that takes turns look
/// stubborn: then a hundred answers weigh as much as a few (the design effect of a Markov chain).
pub(crate) fn independent_share(agreements: u64, pairs: u64, counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    if pairs == 0 || total == 0 {
        return 1.0;
    }
    let share = |&count: &u64| (count as f64 / total as f64).powi(2);
    let by_chance: f64 = counts.iter().map(share).sum();
    if by_chance >= 1.0 {
        return 1.0;
    }
    let observed = agreements as f64 / pairs as f64;
    let stubbornness = ((observed - by_chance) / (1.0 - by_chance)).clamp(0.0, 0.99);
    (1.0 - stubbornness) / (1.0 + stubbornness)
}

/// From this expected count on chi-square may be believed far out in its tail.
const LARGE: f64 = 20.0;

/// How many answers in a row without one that has `share` of them prove at `alpha` that it is gone.
pub(crate) fn absence_proof(share: f64, alpha: f64) -> usize {
    if share <= 0.0 {
        return usize::MAX;
    }
    if share >= 1.0 {
        return 1;
    }
    (alpha.ln() / (1.0 - share).ln()).ceil() as usize
}

/// Probability of at least `statistic` with so many degrees of freedom.
fn chi_square_tail(statistic: f64, degrees: u32) -> f64 {
    upper_gamma(f64::from(degrees) / 2.0, statistic / 2.0)
}

/// Regularized upper incomplete gamma function Q(a, x): a series below a + 1, a continued fraction above
/// (Numerical Recipes 6.2).
fn upper_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let scale = (-x + a * x.ln() - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        for _ in 0..TERMS_MAX {
            n += 1.0;
            term *= x / n;
            sum += term;
            if term < sum * f64::EPSILON {
                break;
            }
        }
        return (1.0 - sum * scale).clamp(0.0, 1.0);
    }
    // Lentz's method; `TINY` keeps it from dividing by zero.
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut fraction = d;
    for i in 1..=TERMS_MAX {
        let step = -f64::from(i) * (f64::from(i) - a);
        b += 2.0;
        d = 1.0 / not_zero(step * d + b);
        c = not_zero(b + step / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (scale * fraction).clamp(0.0, 1.0)
}

fn not_zero(value: f64) -> f64 {
    if value.abs() < TINY { TINY } else { value }
}

const TINY: f64 = 1e-300;
const TERMS_MAX: u32 = 1_000;

/// Probability of something at least as far out as `count` of `total`, on the likelier side doubled.
fn binomial_two_sided(count: u64, total: u64, share: f64) -> f64 {
    let probability = |n: u64| {
        let choose = ln_factorial(total) - ln_factorial(n) - ln_factorial(total - n);
        let rest = (total - n) as f64;
        (choose + n as f64 * share.ln() + rest * (1.0 - share).ln()).exp()
    };
    let below: f64 = (0..=count).map(probability).sum();
    let above: f64 = (count..=total).map(probability).sum();
    (2.0 * below.min(above)).min(1.0)
}

fn ln_factorial(n: u64) -> f64 {
    ln_gamma(n as f64 + 1.0)
}

/// Lanczos approximation, good to some 15 digits for positive arguments.
fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const COEFFICIENTS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let tail = COEFFICIENTS.iter().enumerate().skip(1);
    let sum: f64 = COEFFICIENTS[0] + tail.map(|(i, c)| c / (x + i as f64)).sum::<f64>();
    let t = x + G + 0.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-6 * b.abs()
    }

    #[test]
    fn chi_square_tail_agrees_with_tables() {
        // Quantiles from the tables of the NIST handbook, section 1.3.6.7.4.
        for (statistic, degrees, p) in [
            (3.841_458_820_694_124, 1, 0.05),
            (9.210_340_371_976_182, 2, 0.01),
            (18.307_038_053_275_146, 10, 0.05),
            (27.631_021_115_928_547, 2, 1e-6),
            (149.449_252_779_086_6, 100, 0.001),
        ] {
            let tail = chi_square_tail(statistic, degrees);
            assert!(close(tail, p), "{statistic} {degrees}: {tail}");
        }
        assert_eq!(chi_square_tail(0.0, 3), 1.0);
        assert!(chi_square_tail(1e6, 3) < 1e-300);
    }

    #[test]
    fn binomial_tails_are_exact() {
        // None of ten with probability one half: 2 x 1/1024.
        assert!(close(binomial_two_sided(0, 10, 0.5), 2.0 / 1024.0));
        assert!(close(binomial_two_sided(10, 10, 0.5), 2.0 / 1024.0));
        assert_eq!(binomial_two_sided(5, 10, 0.5), 1.0);
        assert!(close(
            binomial_two_sided(0, 300, 0.02),
            2.0 * 0.98_f64.powi(300)
        ));
    }

    #[test]
    fn weights_that_are_followed_fit() {
        let fit = fit(&[100, 100, 100], &[1, 1, 1], 1.0).unwrap();
        assert_eq!((fit.p_value, fit.deviation), (1.0, 0.0));
        let weighted = super::fit(&[180, 59, 61], &[3, 1, 1], 1.0).unwrap();
        assert!(weighted.p_value > 0.9);
    }

    #[test]
    fn a_count_that_is_off_is_named() {
        let skewed = fit(&[180, 60, 60], &[1, 1, 1], 1.0).unwrap();
        assert!(skewed.p_value < 1e-12, "{skewed:?}");
        assert_eq!((skewed.worst, skewed.expected), (0, 100.0));
        assert!(close(skewed.deviation, 0.8));
        let absent = fit(&[40, 40, 0], &[9, 9, 1], 1.0).unwrap();
        assert!(absent.p_value > 0.01, "little was expected: {absent:?}");
    }

    #[test]
    fn nothing_to_compare_is_no_verdict() {
        for (counts, weights) in [
            (&[][..], &[][..]),
            (&[5], &[1]),
            (&[0, 0], &[1, 1]),
            (&[1, 2], &[1]),
            (&[1, 2], &[1, 0]),
        ] {
            assert_eq!(fit(counts, weights, 1.0), None, "{counts:?} {weights:?}");
        }
    }

    #[test]
    fn stubborn_answers_weigh_less() {
        let counts = [150, 150];
        assert_eq!(independent_share(0, 299, &counts), 1.0, "they take turns");
        let drawn = independent_share(150, 300, &counts);
        assert!(drawn > 0.99, "{drawn}");
        let stubborn = independent_share(270, 300, &counts);
        assert!(close(stubborn, 1.0 / 9.0), "{stubborn}");
        assert_eq!(independent_share(299, 299, &[300, 0]), 1.0, "one alone");
        let skewed = |share| fit(&[180, 120], &[1, 1], share).unwrap();
        assert!(skewed(0.1).p_value > 100.0 * skewed(1.0).p_value);
        assert!(close(skewed(0.1).expected, 150.0));
    }

    #[test]
    fn absence_is_proven_by_a_run_as_long_as_the_share_is_small() {
        assert_eq!(absence_proof(0.5, 1e-6), 20);
        assert_eq!(absence_proof(1.0 / 3.0, 1e-6), 35);
        assert_eq!(absence_proof(1.0, 1e-6), 1);
        assert_eq!(absence_proof(0.0, 1e-6), usize::MAX);
    }
}
