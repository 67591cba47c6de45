//! Headers that are good, and all the ways in which others are not. Never reads from a socket.

use super::*;

fn given(source: &str, destination: &str) -> Option<Origin> {
    Some(Origin {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    })
}

fn complete(length: usize, origin: Option<Origin>) -> Result<Reading, &'static str> {
    Ok(Reading::Complete { length, origin })
}

/// A header of version 2 with this behind its signature.
fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = V2_BEGIN.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    header.extend(payload);
    header
}

const V4_BLOCK: [u8; 12] = [198, 51, 100, 7, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xbb];

fn with_checksum(mut extras: Vec<u8>) -> Vec<u8> {
    extras.extend([CRC32C, 0, 4, 0, 0, 0, 0]);
    let mut header = v2(0x21, 0x11, &[&V4_BLOCK[..], &extras].concat());
    let hole = header.len() - 4;
    let sum = crc32c_without(&header, hole).to_be_bytes();
    header[hole..].copy_from_slice(&sum);
    header
}

#[test]
fn a_line_gives_addresses_and_ports() {
    let line = b"PROXY TCP4 198.51.100.7 10.0.0.1 12345 443\r\nGET /";
    let expected = given("198.51.100.7:12345", "10.0.0.1:443");
    assert_eq!(read(line), complete(44, expected));
    let line = b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n";
    let expected = given("[2001:db8::7]:1", "[::1]:65535");
    assert_eq!(read(line), complete(line.len(), expected));
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN ffff::1 whatever\r\n",
        "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
    ] {
        assert_eq!(read(line.as_bytes()), complete(line.len(), None));
    }
}

#[test]
fn a_line_that_is_not_exactly_so_is_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY  TCP4 198.51.100.7 10.0.0.1 1 2\r\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 1 2\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 1\r\n",
        "PROXY TCP4 198.51.100.7\t10.0.0.1 1 2\r\n",
        "PROXY TCP4 198.51.100.07 10.0.0.1 1 2\r\n",
        "PROXY TCP4 198.51.100 10.0.0.1 1 2\r\n",
        "PROXY TCP4 198.51.100.256 10.0.0.1 1 2\r\n",
        "PROXY TCP4 ::1 10.0.0.1 1 2\r\n",
        "PROXY TCP6 198.51.100.7 10.0.0.1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 01 2\r\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 65536 2\r\n",
        "PROXY TCP4 198.51.100.7 10.0.0.1 1 \r\n",
        "PROXY UDP4 198.51.100.7 10.0.0.1 1 2\r\n",
        "PROXY tcp4 198.51.100.7 10.0.0.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 \u{e9} 10.0.0.1 1 2\r\n",
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line:?}");
    }
}

#[test]
fn a_line_has_at_most_107_bytes() {
    let line = |length: usize| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length - 2, b'x');
        line.extend(b"\r\n");
        line
    };
    assert_eq!(read(&line(107)), complete(107, None));
    assert!(read(&line(108)).is_err());
    assert_eq!(read(&line(108)[..106]), Ok(Reading::Partial));
    assert!(read(&line(108)[..107]).is_err(), "nobody waits for more");
}

#[test]
fn bytes_give_addresses_of_both_families() {
    let header = v2(0x21, 0x11, &V4_BLOCK);
    let expected = given("198.51.100.7:12345", "10.0.0.1:443");
    assert_eq!(read(&header), complete(28, expected));
    let v6 = "20010db8000000000000000000000007\
              00000000000000000000000000000001303901bb";
    let block: Vec<u8> = (0..36)
        .map(|at| u8::from_str_radix(&v6[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let expected = given("[2001:db8::7]:12345", "[::1]:443");
    assert_eq!(read(&v2(0x21, 0x21, &block)), complete(52, expected));
}

#[test]
fn a_proxy_may_speak_for_itself_or_for_a_file() {
    for (header, why) in [
        (v2(0x20, 0x00, &[]), "a health check"),
        (v2(0x20, 0x11, &V4_BLOCK), "its addresses do not count"),
        (v2(0x20, 0x77, b"whatever"), "nor does its family"),
        (v2(0x21, 0x00, b"\x07nonsense"), "unspecified"),
        (v2(0x21, 0x31, &[b'/'; 216]), "a UNIX socket"),
    ] {
        assert_eq!(read(&header), complete(header.len(), None), "{why}");
    }
}

#[test]
fn bytes_that_are_not_exactly_so_are_refused() {
    let cut = [&V4_BLOCK[..], &[4, 0, 9, 1]].concat();
    for (header, why) in [
        (v2(0x11, 0x11, &V4_BLOCK), "version 1"),
        (v2(0x22, 0x11, &V4_BLOCK), "an unknown command"),
        (v2(0x21, 0x12, &V4_BLOCK), "datagrams"),
        (v2(0x21, 0x41, &V4_BLOCK), "an unknown family"),
        (v2(0x21, 0x11, &V4_BLOCK[..11]), "too short for IPv4"),
        (v2(0x21, 0x21, &[0; 35]), "too short for IPv6"),
        (v2(0x21, 0x31, &[0; 215]), "too short for UNIX"),
        (v2(0x21, 0x11, &cut), "an extension cut short"),
        (v2(0x21, 0x11, &[0; 4081]), "longer than anybody needs"),
    ] {
        assert!(read(&header).is_err(), "{why}");
    }
    let unfinished = &v2(0x21, 0x11, &[0; 4081])[..V2_HEAD_BYTES];
    assert!(read(unfinished).is_err(), "at its sixteenth byte");
}

#[test]
fn extensions_are_passed_over_and_a_checksum_is_verified() {
    let sum = crc32c_without(b"123456789\0\0\0\0", 9);
    assert_eq!(crc32c_without(b"123456789", 9), 0xe306_9283, "RFC 3720");
    assert_ne!(sum, 0xe306_9283);
    // An ALPN of `h2`, and nothing in a NOOP.
    let good = with_checksum(vec![1, 0, 2, b'h', b'2', 4, 0, 0]);
    let expected = given("198.51.100.7:12345", "10.0.0.1:443");
    assert_eq!(read(&good), complete(good.len(), expected));
    let checksum = good.len() - 7;
    for position in (16..good.len()).filter(|position| *position != checksum) {
        let mut bad = good.clone();
        bad[position] ^= 0x40;
        let is_told = read(&bad) != complete(good.len(), expected);
        assert!(is_told, "a flipped bit in byte {position}");
    }
    let short = [&V4_BLOCK[..], &[CRC32C, 0, 3, 0, 0, 0]].concat();
    assert!(read(&v2(0x21, 0x11, &short)).is_err());
}

#[test]
fn other_protocols_are_no_header() {
    let others: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXYING\r\n",
        b"proxy TCP4 ",
        b"\x16\x03\x01\x02\x00",
        b"\r\n\r\n\0\r\nQUIX\n",
    ];
    for other in others {
        assert_eq!(read(other), Ok(Reading::Absent), "{other:?}");
    }
    for begin in ["", "P", "PROXY", "\r\n\r\n\0\r\nQUIT"] {
        assert_eq!(read(begin.as_bytes()), Ok(Reading::Ambiguous));
    }
}
