//! Endpoints that are written down and those that were found, in one list. Never decides who is well.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::config::Endpoint;

/// Each address once: as it is written, else as the first source says that knows it. At most `most`; what
/// is written is never left out.
pub(super) fn merge<'a>(
    written: &[Endpoint],
    found: impl IntoIterator<Item = &'a [Endpoint]>,
    most: usize,
) -> Vec<Endpoint> {
    let mut known: HashSet<SocketAddr> = written.iter().map(|one| one.address).collect();
    let mut merged = written.to_vec();
    for endpoint in found.into_iter().flatten() {
        if merged.len() >= most {
            break;
        }
        if known.insert(endpoint.address) {
            merged.push(endpoint.clone());
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn endpoint(port: u16, weight: u16) -> Endpoint {
        Endpoint {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            host: None,
            weight,
            priority: 0,
            zone: None,
            max_requests: NonZeroU32::MIN,
        }
    }

    fn ports(endpoints: &[Endpoint]) -> Vec<(u16, u16)> {
        let ports = endpoints.iter().map(|one| (one.address.port(), one.weight));
        ports.collect()
    }

    #[test]
    fn an_address_counts_once_and_what_is_written_comes_first() {
        let written = [endpoint(2, 1)];
        let (first, second) = (
            [endpoint(3, 5), endpoint(2, 5)],
            [endpoint(3, 7), endpoint(1, 7)],
        );
        let merged = merge(&written, [&first[..], &second[..]], 10);
        assert_eq!(ports(&merged), [(2, 1), (3, 5), (1, 7)]);
    }

    #[test]
    fn what_is_beyond_the_bound_is_left_out_but_nothing_that_is_written() {
        let written = [endpoint(1, 1), endpoint(2, 1)];
        let found = [endpoint(3, 1), endpoint(4, 1)];
        assert_eq!(merge(&written, [&found[..]], 3).len(), 3);
        assert_eq!(merge(&written, [&found[..]], 1).len(), 2);
        assert_eq!(merge(&[], [&found[..]], 1).len(), 1);
    }
}
