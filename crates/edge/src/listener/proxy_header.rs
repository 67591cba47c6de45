//! The PROXY header, versions 1 and 2: by it a proxy that passes bytes on tells whose they are.
//! Pure, and never lenient: what two readers could take for two addresses is refused.

pub(crate) mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1, with its line end.
const V1_BYTES_MAX: usize = 107;
/// Longest header of version 2. Those with a client certificate's name come to some hundred bytes;
/// the protocol itself would allow 64 KiB.
const V2_BYTES_MAX: usize = 4096;
/// No header is longer.
pub(crate) const BYTES_MAX: usize = V2_BYTES_MAX;

const V1_BEGIN: &[u8] = b"PROXY ";
const V2_BEGIN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_HEAD_BYTES: usize = 16;
const CRC32C: u8 = 3;

/// What the bytes that have arrived so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A whole header of so many bytes. `origin` is `None` where the proxy speaks for itself, or
    /// of somebody without an IP address.
    Complete {
        length: usize,
        origin: Option<Origin>,
    },
    /// The beginning of a header: all of it belongs to one.
    Partial,
    /// Bytes that a header may begin with, and much else.
    Ambiguous,
    /// Something else.
    Absent,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The client.
    pub(crate) source: SocketAddr,
    /// What the client connected to.
    pub(crate) destination: SocketAddr,
}

/// Reads a header at the begin of `bytes`. What is malformed stays so, whatever follows; the error
/// says why.
pub(crate) fn read(bytes: &[u8]) -> Result<Reading, &'static str> {
    if bytes.starts_with(V1_BEGIN) {
        version_1(bytes)
    } else if bytes.starts_with(V2_BEGIN) {
        version_2(bytes)
    } else if V1_BEGIN.starts_with(bytes) || V2_BEGIN.starts_with(bytes) {
        Ok(Reading::Ambiguous)
    } else {
        Ok(Reading::Absent)
    }
}

fn version_1(bytes: &[u8]) -> Result<Reading, &'static str> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() < V1_BYTES_MAX {
            Ok(Reading::Partial)
        } else {
            Err("the line is too long")
        };
    };
    let line = window[..end]
        .strip_suffix(b"\r")
        .ok_or("the line ends in a bare line feed")?;
    let line = std::str::from_utf8(line).map_err(|_| "the line is not ASCII")?;
    let mut words = line.split(' ').skip(1);
    let origin = match words.next() {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let mut next = || words.next().ok_or("an address or port is missing");
            let (source, destination) = (next()?, next()?);
            let (source_port, destination_port) = (next()?, next()?);
            Some(Origin {
                source: SocketAddr::new(address(family, source)?, port(source_port)?),
                destination: SocketAddr::new(
                    address(family, destination)?,
                    port(destination_port)?,
                ),
            })
        }
        _ => return Err("the family is not known"),
    };
    if origin.is_some() && words.next().is_some() {
        return Err("more follows the ports");
    }
    Ok(Reading::Complete {
        length: end + 1,
        origin,
    })
}

/// The standard library's parsers take no leading zeros, zones or shortened IPv4 addresses.
fn address(family: &str, text: &str) -> Result<IpAddr, &'static str> {
    let parsed = if family == "TCP4" {
        text.parse::<Ipv4Addr>().map(IpAddr::V4)
    } else {
        text.parse::<Ipv6Addr>().map(IpAddr::V6)
    };
    parsed.map_err(|_| "an address is not one of its family")
}

fn port(text: &str) -> Result<u16, &'static str> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let port = is_plain.then(|| text.parse().ok()).flatten();
    port.ok_or("a port is not a number below 65536")
}

fn version_2(bytes: &[u8]) -> Result<Reading, &'static str> {
    // What can be refused is refused at its byte: nobody waits for the rest of a lie.
    let command = match bytes.get(12) {
        None => return Ok(Reading::Partial),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err("version or command is not known"),
    };
    let family = match bytes.get(13) {
        None => return Ok(Reading::Partial),
        Some(0x00) => Family::Unspecified,
        Some(0x11) => Family::Tcp4,
        Some(0x21) => Family::Tcp6,
        Some(0x31 | 0x32) => Family::Unix,
        // A proxy may put anything there for a connection of its own.
        Some(_) if command == Command::Local => Family::Unspecified,
        Some(_) => return Err("the family is not known, or not of streams"),
    };
    let (Some(high), Some(low)) = (bytes.get(14), bytes.get(15)) else {
        return Ok(Reading::Partial);
    };
    let length = V2_HEAD_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    if length > V2_BYTES_MAX {
        return Err("the header is too long");
    }
    let address_bytes = match (command, family) {
        // Not even the length of what is there can be relied on.
        (Command::Local, _) | (_, Family::Unspecified) => None,
        (Command::Proxy, Family::Tcp4) => Some(12),
        (Command::Proxy, Family::Tcp6) => Some(36),
        (Command::Proxy, Family::Unix) => Some(216),
    };
    if address_bytes.is_some_and(|count| length < V2_HEAD_BYTES + count) {
        return Err("the header is too short for its addresses");
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(Reading::Partial);
    };
    let Some(address_bytes) = address_bytes else {
        let origin = None;
        return Ok(Reading::Complete { length, origin });
    };
    let (addresses, extras) = header[V2_HEAD_BYTES..].split_at(address_bytes);
    check_extras(header, extras)?;
    let origin = match family {
        Family::Tcp4 => addresses_v4(addresses),
        Family::Tcp6 => addresses_v6(addresses),
        Family::Unix | Family::Unspecified => None,
    };
    Ok(Reading::Complete { length, origin })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Local,
    Proxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Unspecified,
    Tcp4,
    Tcp6,
    Unix,
}

fn addresses_v4(block: &[u8]) -> Option<Origin> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    origin(
        Ipv4Addr::from(*source).into(),
        Ipv4Addr::from(*destination).into(),
        rest,
    )
}

fn addresses_v6(block: &[u8]) -> Option<Origin> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    origin(
        Ipv6Addr::from(*source).into(),
        Ipv6Addr::from(*destination).into(),
        rest,
    )
}

fn origin(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Option<Origin> {
    let (source_port, ports) = ports.split_first_chunk::<2>()?;
    let (destination_port, _) = ports.split_first_chunk::<2>()?;
    Some(Origin {
        source: SocketAddr::new(source, u16::from_be_bytes(*source_port)),
        destination: SocketAddr::new(destination, u16::from_be_bytes(*destination_port)),
    })
}

/// Type, length, value, again and again, to the last byte. All are passed over but the checksum.
fn check_extras(header: &[u8], extras: &[u8]) -> Result<(), &'static str> {
    let mut rest = extras;
    while let Some((kind, after)) = rest.split_first() {
        let (length, after) = after
            .split_first_chunk::<2>()
            .ok_or("an extension is cut short")?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, after) = after
            .split_at_checked(length)
            .ok_or("an extension is cut short")?;
        if *kind == CRC32C {
            let said = value.try_into().map(u32::from_be_bytes);
            let said = said.map_err(|_| "the checksum has not four bytes")?;
            let begin = header.len() - after.len() - value.len();
            if crc32c_without(header, begin) != said {
                return Err("the checksum is wrong");
            }
        }
        rest = after;
    }
    Ok(())
}

/// CRC32c (RFC 3309 appendix B) of the bytes, with zeros in place of the four at `hole`.
fn crc32c_without(bytes: &[u8], hole: usize) -> u32 {
    let mut crc = u32::MAX;
    for (position, byte) in bytes.iter().enumerate() {
        let is_hole = (hole..hole + 4).contains(&position);
        crc ^= if is_hole { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            let is_odd = crc & 1 == 1;
            crc >>= 1;
            if is_odd {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing {
    //! What must hold of any bytes whatever.

    use super::*;

    /// Reads `bytes` as a header: what is said of a beginning must fit what is said of the whole.
    pub fn proxy_header(bytes: &[u8]) {
        let whole = read(bytes);
        for end in 0..bytes.len().min(BYTES_MAX) {
            let part = read(&bytes[..end]);
            match part {
                Ok(Reading::Complete { length, .. }) => {
                    assert!(length <= end);
                    assert_eq!(part, whole, "at {end}");
                }
                Ok(Reading::Absent) | Err(_) => assert_eq!(part, whole, "at {end}"),
                Ok(Reading::Partial) => {
                    assert!(end < BYTES_MAX);
                    assert_ne!(whole, Ok(Reading::Absent), "at {end}");
                    assert_ne!(whole, Ok(Reading::Ambiguous), "at {end}");
                }
                Ok(Reading::Ambiguous) => assert!(end < V2_BEGIN.len()),
            }
        }
        if let Ok(Reading::Complete { length, .. }) = whole {
            assert!((15..=BYTES_MAX).contains(&length) && length <= bytes.len());
        }
    }
}

#[cfg(test)]
mod tests;
