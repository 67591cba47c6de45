//! The working memory of one hashing thread. Never keeps a trace of a password while its thread waits.

use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::phc::{HashCost, TAG_BYTES};

/// glibc maps requests of more than 32 MiB afresh and gives them back to the kernel when they are freed; smaller ones
/// may stay in the heap for ever. The unused end is reserved but never touched, so it costs no memory.
const RESERVED_BLOCKS: usize = 33 * 1024;

/// What the kernel maps at once where it is asked to.
const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// argon2's blocks, reused because fresh pages cost about as much as a pass over them.
#[derive(Default)]
pub(super) struct Arena {
    blocks: Vec<Block>,
    /// So many from the first one on may hold what a hash left behind.
    used: usize,
}

impl Arena {
    /// Runs argon2id. What it leaves behind is overwritten by the next run, or to be wiped.
    pub(super) fn tag(&mut self, cost: HashCost, salt: &[u8], password: &str) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        let password = password.as_bytes();
        self.run(Algorithm::Argon2id, cost.params(), salt, password, &mut tag);
        tag
    }

    /// Runs argon2 as somebody else parametrised it.
    pub(super) fn run(
        &mut self,
        algorithm: Algorithm,
        params: Params,
        salt: &[u8],
        password: &[u8],
        tag: &mut [u8],
    ) {
        let needed = params.block_count();
        if self.blocks.capacity() == 0 {
            self.blocks = Vec::with_capacity(RESERVED_BLOCKS.max(needed));
            prefer_huge_pages(&mut self.blocks);
        }
        if self.blocks.len() < needed {
            self.blocks.resize(needed, Block::new());
        }
        self.used = self.used.max(needed);
        Argon2::new(algorithm, Version::V0x13, params)
            .hash_password_into_with_memory(password, salt, tag, &mut self.blocks)
            .expect("salt, tag and memory have the sizes that the cost asks for");
    }

    /// Gives the memory back, without a trace; the next job pays for fresh pages.
    pub(super) fn release(&mut self) {
        self.wipe();
        self.blocks = Vec::new();
    }

    pub(super) fn is_held(&self) -> bool {
        self.blocks.capacity() > 0
    }

    /// A plain fill runs at memory speed; the black box keeps the compiler from proving that nobody reads it.
    pub(super) fn wipe(&mut self) {
        self.blocks[..self.used].fill(Block::new());
        std::hint::black_box(&mut self.blocks);
        self.used = 0;
    }

    /// Whether nothing of a password is left.
    #[cfg(test)]
    pub(super) fn is_blank(&self) -> bool {
        self.blocks
            .iter()
            .all(|block| block.as_ref().iter().all(|word| *word == 0))
    }
}

/// argon2 jumps about in its memory: with pages of 4 KiB, finding them costs a tenth of a hash. Only the whole huge
/// pages inside the reserved memory; a kernel that has none to give ignores the wish.
#[expect(unsafe_code, reason = "no safe wrapper of madvise at hand")]
fn prefer_huge_pages(blocks: &mut Vec<Block>) {
    let begin = blocks.as_mut_ptr() as usize;
    let end = begin + blocks.capacity() * size_of::<Block>();
    let (first, last) = (
        begin.next_multiple_of(HUGE_PAGE),
        end / HUGE_PAGE * HUGE_PAGE,
    );
    if first < last {
        // SAFETY: the range lies within this allocation, and the advice changes no byte of it.
        unsafe {
            libc::madvise(
                first as *mut libc::c_void,
                last - first,
                libc::MADV_HUGEPAGE,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_b06_nothing_of_a_password_is_left_behind() {
        let mut arena = Arena::default();
        let first = arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "correct horse");
        assert_eq!(arena.blocks.len(), 64);
        arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "another password");
        let second = arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "correct horse");
        assert_eq!(first, second, "used memory changes nothing");
        assert!(!arena.is_blank());
        arena.wipe();
        assert!(arena.is_blank());
    }

    #[test]
    fn a_larger_hash_grows_the_arena_and_a_smaller_one_uses_part_of_it() {
        let mut arena = Arena::default();
        let cheap = arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "x");
        arena.tag(HashCost::RECOMMENDED, b"saltsaltsaltsalt", "x");
        assert_eq!(arena.tag(HashCost::CHEAP, b"saltsaltsaltsalt", "x"), cheap);
        arena.wipe();
        assert!(arena.is_blank(), "what the larger one left, too");
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

    #[test]
    fn sec_b05_argon2id_gives_the_vector_of_rfc_9106() {
        // Section 5.3.
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .output_len(32)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let (id, version) = (Algorithm::Argon2id, Version::V0x13);
        let argon2 = Argon2::new_with_secret(&[3; 8], id, version, params).unwrap();
        let mut tag = [0; 32];
        argon2
            .hash_password_into(&[1; 32], &[2; 16], &mut tag)
            .unwrap();
        let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
        assert_eq!(hex, expected);
    }

    /// Whatever the memory was used for before, and however large it was then.
    #[test]
    fn sec_b05_used_memory_gives_what_fresh_memory_gives_for_any_cost() {
        let seed = u64::from_be_bytes(crate::random::bytes());
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut arena = Arena::default();
        for _ in 0..2000 {
            let (lanes, passes) = (rng.u32(1..=2), rng.u32(1..=3));
            let memory = rng.u32(8 * lanes..=64);
            let params = Params::new(memory, passes, lanes, Some(32)).unwrap();
            let salt: Vec<u8> = (0..rng.usize(8..=32)).map(|_| rng.u8(..)).collect();
            let password: Vec<u8> = (0..rng.usize(0..=128)).map(|_| rng.u8(..)).collect();
            let algorithm = Algorithm::Argon2id;
            let (mut used, mut fresh) = ([0; 32], [0; 32]);
            arena.run(algorithm, params.clone(), &salt, &password, &mut used);
            Argon2::new(algorithm, Version::V0x13, params)
                .hash_password_into(&password, &salt, &mut fresh)
                .unwrap();
            assert_eq!(used, fresh, "{memory} KiB, {passes} passes, {lanes} lanes");
        }
    }
}
