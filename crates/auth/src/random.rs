//! The only source of randomness in auth: the kernel's. Never seeded, never replayed; pure code takes bytes as arguments.

/// Fresh secret bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's random source answers once the system is up");
    bytes
}

/// A number from 0 up to, but not including, 1.
pub fn fraction() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}
