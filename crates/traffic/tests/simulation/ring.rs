//! Consistent hashing by the book, slowly: every point of nginx's ring in one sorted list. Never
//! uses the crate that the code under test uses.

use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::select::Member;

/// Points with their owners.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    points: Vec<(u32, EndpointId)>,
}

impl Ring {
    pub(crate) fn new<'a>(members: impl Iterator<Item = &'a Member>) -> Self {
        let mut points: Vec<_> = members.flat_map(points).collect();
        points.sort_unstable();
        Self { points }
    }

    /// Owners in the order in which a key would have them.
    pub(crate) fn walk(&self, key: &[u8]) -> impl Iterator<Item = EndpointId> {
        let hash = crc32(key);
        let start = self.points.partition_point(|(point, _)| *point < hash);
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|(_, owner)| *owner)
    }
}

fn points(member: &Member) -> Vec<(u32, EndpointId)> {
    let address = member.address;
    let mut text = format!("{}\0{}", address.ip(), address.port()).into_bytes();
    let base = text.len();
    let mut hash = 0_u32;
    let mut point = || {
        text.truncate(base);
        text.extend(hash.to_le_bytes());
        hash = crc32(&text);
        (hash, member.id)
    };
    (0..160 * u32::from(member.weight))
        .map(|_| point())
        .collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
