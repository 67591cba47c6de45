//! The only source of randomness in auth: the kernel's. Never seeded, never replayed; pure code takes bytes as arguments.

use std::cell::RefCell;

/// Fresh secret bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's random source answers once the system is up");
    bytes
}

/// Bytes for names that have to differ but guard nothing: taken from the kernel by the hundred, since asking costs as
/// much as a small request's whole head.
pub fn for_names<const N: usize>() -> [u8; N] {
    const STOCK: usize = 640;
    const { assert!(N <= STOCK) };
    thread_local! {
        static LEFT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    LEFT.with_borrow_mut(|left| {
        if left.len() < N {
            *left = bytes::<STOCK>().to_vec();
        }
        let mut taken = [0; N];
        taken.copy_from_slice(&left[left.len() - N..]);
        left.truncate(left.len() - N);
        taken
    })
}

/// A number from 0 up to, but not including, 1.
pub fn fraction() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_beyond_one_stock() {
        let mut names: Vec<[u8; 16]> = (0..200).map(|_| for_names()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 200);
    }
}
