//! Header compression: RFC 7541.

use super::super::frames::*;
use super::Expected::{Goaway, Status};
use super::{Case, case};

/// The codec that we use says PROTOCOL_ERROR where RFC 9113 4.3 asks for COMPRESSION_ERROR. What counts is
/// the end of the connection: its tables can no longer be trusted.
const BROKEN: super::Expected = Goaway(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);

/// A request of indexed fields, then these bytes.
fn then(bytes: &[u8]) -> Vec<Vec<u8>> {
    // GET, http, "/", and the authority as a literal with an indexed name.
    let mut block = vec![0x82, 0x86, 0x84, 0x01, HOST.len() as u8];
    block.extend(HOST.as_bytes());
    block.extend(bytes);
    vec![frame(HEADERS, WHOLE, 1, &block)]
}

fn first(bytes: &[u8]) -> Vec<Vec<u8>> {
    let whole = then(b"").concat();
    vec![frame(HEADERS, WHOLE, 1, &[bytes, &whole[9..]].concat())]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
pub(super) fn cases() -> Vec<Case> {
    let huffman = b"\x00\x85\xf2\xb4\xe9\x4d\x6f\x83\x1c\x64\x5f";
    let indexed_twice = [then(b"\x40\x03x-a\x01b").concat(), {
        let mut block = then(b"").concat()[9..].to_vec();
        block.push(0xbe);
        frame(HEADERS, WHOLE, 3, &block)
    }];
    vec![
        case("2.3.3", "indexed fields", &then(b""), Status(1, 200)),
        case(
            "2.3.3",
            "index beyond both tables",
            &then(b"\xff\x00"),
            BROKEN,
        ),
        case(
            "2.3.3",
            "index of a name beyond both tables",
            &then(b"\x0f\x70\x01b"),
            BROKEN,
        ),
        case(
            "4.2",
            "smaller table at the beginning",
            &first(b"\x20"),
            Status(1, 200),
        ),
        case("4.2", "table size within the block", &then(b"\x20"), BROKEN),
        case(
            "5.1",
            "number that never ends",
            &then(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
            BROKEN,
        ),
        case("5.2", "text beyond the block", &then(b"\x00\x7fx"), BROKEN),
        case(
            "5.2",
            "Huffman code",
            &then(b"\x00\x03x-a\x81\x1f"),
            Status(1, 200),
        ),
        case(
            "5.2",
            "Huffman padding of more than seven bits",
            &then(b"\x00\x03x-a\x82\x1f\xff"),
            BROKEN,
        ),
        case(
            "5.2",
            "Huffman padding of zeros",
            &then(b"\x00\x03x-a\x81\x18"),
            BROKEN,
        ),
        case(
            "5.2",
            "Huffman end of string",
            &then(b"\x00\x03x-a\x84\xff\xff\xff\xfc"),
            BROKEN,
        ),
        case(
            "5.2",
            "Huffman code in a name that is none",
            &then(huffman),
            BROKEN,
        ),
        case("6.1", "index 0", &then(b"\x80"), BROKEN),
        case(
            "6.2.1",
            "literal with indexing",
            &then(b"\x40\x03x-a\x01b"),
            Status(1, 200),
        ),
        case(
            "6.2.1",
            "literal with indexing, name indexed",
            &then(b"\x7a\x01b"),
            Status(1, 200),
        ),
        case(
            "6.2.1",
            "a field of the dynamic table",
            &indexed_twice,
            Status(3, 200),
        ),
        case(
            "6.2.2",
            "literal without indexing",
            &then(b"\x00\x03x-a\x01b"),
            Status(1, 200),
        ),
        case(
            "6.2.3",
            "literal never to be indexed",
            &then(b"\x10\x03x-a\x01b"),
            Status(1, 200),
        ),
        case(
            "6.3",
            "table larger than was allowed",
            &first(b"\x3f\xe2\x1f"),
            BROKEN,
        ),
        case(
            "6.3",
            "table as large as was allowed",
            &first(b"\x3f\xe1\x1f"),
            Status(1, 200),
        ),
        case(
            "4.3",
            "a block that ends in a field",
            &then(b"\x40"),
            BROKEN,
        ),
    ]
}
