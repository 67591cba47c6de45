//! The only source of randomness in auth: the kernel's. Never seeded, never replayed; pure code takes bytes as arguments.

/// Fresh secret bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's random source answers once the system is up");
    bytes
}
