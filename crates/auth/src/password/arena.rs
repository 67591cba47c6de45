//! The working memory of one hashing thread. Never keeps a trace of a password between two jobs.

use argon2::{Algorithm, Argon2, Block, Version};

use super::phc::{HashCost, TAG_BYTES};

/// glibc maps requests of more than 32 MiB afresh and gives them back to the kernel when they are freed; smaller ones
/// may stay in the heap for ever. The unused end is reserved but never touched, so it costs no memory.
const RESERVED_BLOCKS: usize = 33 * 1024;

/// argon2's blocks, reused because fresh pages cost about as much as a pass over them.
#[derive(Default)]
pub(super) struct Arena {
    blocks: Vec<Block>,
}

impl Arena {
    /// Runs argon2id and wipes the memory.
    pub(super) fn tag(&mut self, cost: HashCost, salt: &[u8], password: &str) -> [u8; TAG_BYTES] {
        let params = cost.params();
        let needed = params.block_count();
        if self.blocks.capacity() == 0 {
            self.blocks = Vec::with_capacity(RESERVED_BLOCKS.max(needed));
        }
        if self.blocks.len() < needed {
            self.blocks.resize(needed, Block::new());
        }
        let mut tag = [0; TAG_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password.as_bytes(), salt, &mut tag, &mut self.blocks)
            .expect("salt, tag and memory have the sizes that the cost asks for");
        self.wipe(needed);
        tag
    }

    /// Gives the memory back; the next job pays for fresh pages.
    pub(super) fn release(&mut self) {
        self.blocks = Vec::new();
    }

    pub(super) fn is_held(&self) -> bool {
        self.blocks.capacity() > 0
    }

    /// A plain fill runs at memory speed; the black box keeps the compiler from proving that nobody reads it.
    fn wipe(&mut self, used: usize) {
        self.blocks[..used].fill(Block::new());
        std::hint::black_box(&mut self.blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_blank(arena: &Arena) -> bool {
        arena
            .blocks
            .iter()
            .all(|block| block.as_ref().iter().all(|word| *word == 0))
    }

    #[test]
    fn sec_b06_nothing_of_a_password_is_left_behind() {
        let mut arena = Arena::default();
        let first = arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "correct horse");
        assert_eq!(arena.blocks.len(), 64);
        assert!(is_blank(&arena));
        let second = arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "correct horse");
        assert_eq!(first, second, "used memory changes nothing");
    }

    #[test]
    fn a_larger_hash_grows_the_arena_and_a_smaller_one_uses_part_of_it() {
        let mut arena = Arena::default();
        let cheap = arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "x");
        arena.tag(HashCost::RECOMMENDED, b"saltsaltsaltsalt", "x");
        assert_eq!(arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "x"), cheap);
        assert!(is_blank(&arena));
        arena.release();
        assert!(!arena.is_held());
    }

    #[test]
    fn the_tag_is_that_of_the_reference_implementation() {
        // From test.c of the PHC reference code: Argon2id, version 0x13, t=2, m=2^16, p=1.
        let cost = HashCost::new(65536, 2).unwrap();
        let tag = Arena::default().tag(cost, b"somesalt", "password");
        let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7";
        assert_eq!(hex, expected);
    }
}
