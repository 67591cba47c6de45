//! Byte buffers of two sizes, used again and again. Never shows bytes of an earlier use.

use std::cell::RefCell;
use std::mem;

/// Room for a usual request head.
const SMALL_BYTES: usize = 4 * 1024;
/// Room for a piece of a body: a system call moves it whole.
const LARGE_BYTES: usize = 32 * 1024;
/// What a thread keeps for later: 1 MiB of small ones and 2 MiB of large ones.
const SMALL_KEPT: usize = 256;
const LARGE_KEPT: usize = 64;

thread_local! {
    static FREE: RefCell<Free> = const { RefCell::new(Free { small: Vec::new(), large: Vec::new() }) };
}

struct Free {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
}

/// Bytes received and not used yet, in one piece. Goes back to its thread's store when dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// For a head or a little of a body.
    pub(super) fn small() -> Self {
        Self::recycled(|free| &mut free.small, SMALL_BYTES)
    }

    /// For bodies.
    pub(super) fn large() -> Self {
        Self::recycled(|free| &mut free.large, LARGE_BYTES)
    }

    /// Capacity of [`Buffer::small`].
    pub(super) const fn small_bytes() -> usize {
        SMALL_BYTES
    }

    fn recycled(kept: impl FnOnce(&mut Free) -> &mut Vec<Box<[u8]>>, capacity: usize) -> Self {
        // A thread that is ending has no store any more.
        let known = FREE.try_with(|free| kept(&mut free.borrow_mut()).pop());
        let fresh = || vec![0; capacity].into_boxed_slice();
        Self {
            bytes: known.ok().flatten().unwrap_or_else(fresh),
            start: 0,
            end: 0,
        }
    }

    /// What was received and is not used yet.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to decode in place.
    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Where to receive into; says nothing about what was there before.
    pub(super) fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// The first `bytes` of the spare room have been received.
    pub(super) fn advance_filled(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes.len() - self.end, "more than the room");
        self.end += bytes;
    }

    /// Uses up bytes from the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.end - self.start, "more than received");
        self.start += bytes;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves what is left to the front when the spare room has become small.
    pub(super) fn compact(&mut self) {
        if self.start > 0 && self.bytes.len() - self.end < self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Makes more room, up to `max` bytes in all; `false` when there is no more.
    pub(super) fn grow(&mut self, max: usize) -> bool {
        let capacity = (self.bytes.len() * 2).min(max);
        if capacity <= self.bytes.len() {
            return false;
        }
        let mut grown = vec![0; capacity].into_boxed_slice();
        let length = self.end - self.start;
        grown[..length].copy_from_slice(self.filled());
        *self = Self {
            bytes: grown,
            start: 0,
            end: length,
        };
        true
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = mem::take(&mut self.bytes);
        // Without a store the memory just goes.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            match bytes.len() {
                SMALL_BYTES if free.small.len() < SMALL_KEPT => free.small.push(bytes),
                LARGE_BYTES if free.large.len() < LARGE_KEPT => free.large.push(bytes),
                _ => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        buffer.advance_filled(bytes.len());
    }

    #[test]
    fn bytes_come_out_as_they_went_in_across_compaction_and_growth() {
        let mut buffer = Buffer::small();
        received(&mut buffer, &[1; SMALL_BYTES - 10]);
        buffer.consume(SMALL_BYTES - 20);
        assert_eq!(buffer.spare_mut().len(), 10);
        buffer.compact();
        assert_eq!(buffer.spare_mut().len(), SMALL_BYTES - 10);
        received(&mut buffer, &[2; SMALL_BYTES - 10]);
        assert!(buffer.spare_mut().is_empty());
        assert!(buffer.grow(SMALL_BYTES + 1));
        received(&mut buffer, &[3]);
        assert!(!buffer.grow(SMALL_BYTES + 1), "no more than the maximum");
        let expected = [&[1; 10][..], &[2; SMALL_BYTES - 10], &[3]].concat();
        assert_eq!(buffer.filled(), expected);
        assert_eq!(buffer.filled_mut(), expected);
    }

    #[test]
    fn recycled_buffer_shows_nothing_of_its_past() {
        for make in [Buffer::small, Buffer::large] {
            let mut buffer = make();
            received(&mut buffer, b"secret");
            let address = buffer.bytes.as_ptr();
            drop(buffer);
            let again = make();
            assert_eq!(again.bytes.as_ptr(), address, "recycled");
            assert!(again.is_empty() && again.filled().is_empty());
        }
    }

    #[test]
    fn store_is_bounded_and_takes_no_odd_sizes() {
        let many: Vec<Buffer> = (0..LARGE_KEPT + 10).map(|_| Buffer::large()).collect();
        drop(many);
        let mut odd = Buffer::large();
        assert!(odd.grow(LARGE_BYTES * 2));
        drop(odd);
        let kept = FREE.with(|free| free.borrow().large.len());
        assert_eq!(
            kept, LARGE_KEPT,
            "what was outgrown came back, the grown one did not"
        );
    }

    #[test]
    #[should_panic(expected = "more than received")]
    fn using_more_than_was_received_is_a_bug() {
        Buffer::small().consume(1);
    }
}
