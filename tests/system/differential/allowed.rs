//! Where the engines may differ, and why. Each allowance takes one kind of difference away from
//! what was seen, if the bytes call for it; what is left must be equal.

use super::Seen;

pub(super) struct Allowance {
    /// The reason, and with it the name.
    pub(super) why: &'static str,
    /// Bytes that show the difference.
    pub(super) example: &'static [u8],
    /// Takes the difference away.
    pub(super) forgive: fn(&[u8], &mut Seen, &mut Seen),
}

pub(super) const ALLOWED: &[Allowance] = &[
    Allowance {
        why: "a refusal is a refusal: one engine knows earlier than the other",
        example: b"GET / H0TTP/1.",
        forgive: |_, native, pingora| {
            if is_refusal(native) && is_refusal(pingora) {
                *native = pingora.clone();
            }
        },
    },
    Allowance {
        why: "RFC 9112, 2.2: pingora takes a bare LF for the end of a line",
        example: b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        forgive: |bytes, native, pingora| {
            if has_bare_line_end(bytes) {
                forgive_refusal(native, pingora);
            }
        },
    },
    Allowance {
        why: "RFC 9112, 6.1: pingora believes chunks where a length stands beside them",
        example: b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        forgive: |bytes, native, pingora| {
            if has_field(bytes, "content-length") && has_field(bytes, "transfer-encoding") {
                forgive_refusal(native, pingora);
            }
        },
    },
    Allowance {
        why: "RFC 9112, 3.2: pingora repairs targets: fragments, spaces, controls, no slash",
        example: b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        forgive: |bytes, native, pingora| {
            if target(bytes).is_none_or(|target| {
                !target.starts_with(b"/") || target.iter().any(|b| !b.is_ascii_graphic() || *b == b'#')
            }) {
                forgive_refusal(native, pingora);
            }
        },
    },
    Allowance {
        why: "RFC 9112, 7.1: pingora reads chunk sizes generously",
        example: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n",
        forgive: |bytes, native, pingora| {
            if has_field(bytes, "transfer-encoding") && !has_clean_chunks(bytes) {
                forgive_refusal(native, pingora);
            }
        },
    },
    Allowance {
        why: "visible ASCII that is no part of a URI is common; pingora's parser refuses some of it",
        example: b"GET /a|b<c HTTP/1.1\r\nHost: a\r\n\r\n",
        forgive: |bytes, native, pingora| {
            let odd = |target: &[u8]| target.iter().any(|byte| b"\"<>`{}|^\\[]".contains(byte));
            if target(bytes).is_some_and(odd) && is_refusal(pingora) {
                *pingora = native.clone();
            }
        },
    },
    Allowance {
        why: "RFC 9110, 7.6.1: Connection does not take end-to-end fields along",
        example: b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Host, Authorization\r\nAuthorization: x\r\n\r\n",
        forgive: |bytes, native, pingora| {
            if !has_field(bytes, "connection") {
                return;
            }
            if is_refusal(pingora) {
                *pingora = native.clone();
            }
            for name in ["authorization", "content-length", "transfer-encoding"] {
                remove(name, native, pingora);
            }
        },
    },
    Allowance {
        why: "RFC 9110, 5.3: pingora looks for close in the first Connection field alone",
        example: b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n",
        forgive: |bytes, native, pingora| {
            if count_fields(bytes, "connection") > 1 && !native.goes_on {
                pingora.goes_on = false;
            }
        },
    },
    Allowance {
        why: "RFC 9110, 6.5 and 10.1.4: the native engine passes trailers on and says so",
        example: b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x\r\n\r\n",
        forgive: |bytes, native, pingora| {
            for name in ["te", "trailer"] {
                if has_field(bytes, name) {
                    remove(name, native, pingora);
                    remove("connection", native, pingora);
                }
            }
        },
    },
    Allowance {
        why: "RFC 9110, 10.1.1: no expectation but 100-continue is known",
        example: b"GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n",
        forgive: |bytes, native, pingora| {
            if has_field(bytes, "expect") {
                remove("expect", native, pingora);
            }
        },
    },
    Allowance {
        why: "RFC 9112, 3.2: a request that goes on as HTTP/1.1 has a Host, if only an empty one",
        example: b"GET / HTTP/1.0\r\n\r\n",
        forgive: |bytes, native, pingora| {
            // The field may stand behind the end of the head.
            let (is_old, is_empty) = (has_old_version(bytes), has_empty_host(native));
            if is_old && is_empty {
                remove("host", native, pingora);
            }
        },
    },
    Allowance {
        why: "a length is written anew, without leading zeros",
        example: b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 01\r\n\r\nx",
        forgive: |bytes, native, pingora| {
            if has_field(bytes, "content-length") && native.bodies() == pingora.bodies() {
                remove("content-length", native, pingora);
            }
        },
    },
    Allowance {
        why: "pingora closes when bytes follow a request, the native engine serves them",
        example: b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        forgive: |_, native, pingora| {
            let same_start = native.received.starts_with(&pingora.received);
            if same_start && !pingora.goes_on && native.status == pingora.status {
                *pingora = native.clone();
            }
        },
    },
];

/// Whether what was seen is equal but for differences that are allowed.
pub(super) fn is_alike(bytes: &[u8], native: &Seen, pingora: &Seen) -> bool {
    let (mut native, mut pingora) = (native.clone(), pingora.clone());
    for allowance in ALLOWED {
        (allowance.forgive)(bytes, &mut native, &mut pingora);
    }
    native == pingora
}

/// Turned away by the edge itself, and nothing of it at the endpoint.
fn is_refusal(seen: &Seen) -> bool {
    let is_error = seen
        .status
        .is_none_or(|status| (400..500).contains(&status));
    is_error && seen.received.is_empty() && !seen.goes_on
}

/// The stricter engine may refuse what the other lets pass.
fn forgive_refusal(native: &Seen, pingora: &mut Seen) {
    if is_refusal(native) {
        *pingora = native.clone();
    }
}

fn remove(name: &str, native: &mut Seen, pingora: &mut Seen) {
    for seen in [native, pingora] {
        for request in &mut seen.received {
            request.fields.retain(|(field, _)| field != name);
        }
    }
}

fn has_bare_line_end(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(at, &byte)| match byte {
        b'\n' => at == 0 || bytes[at - 1] != b'\r',
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    })
}

fn has_field(bytes: &[u8], name: &str) -> bool {
    count_fields(bytes, name) > 0
}

fn count_fields(bytes: &[u8], name: &str) -> usize {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    text.lines().filter(|line| line.starts_with(name)).count()
}

fn has_old_version(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    lines.any(|line| line.ends_with(b"HTTP/1.0\r"))
}

fn has_empty_host(seen: &Seen) -> bool {
    let mut fields = seen.received.iter().flat_map(|request| &request.fields);
    fields.any(|(name, value)| name == "host" && value.is_empty())
}

/// Whether the bytes behind the first head are chunks to the letter, trailers left out.
fn has_clean_chunks(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((_, mut rest)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    while let Some((line, behind)) = rest.split_once("\r\n") {
        let size = line.split(';').next().unwrap_or_default();
        let is_hex = size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_clean = is_hex && !line.contains(char::is_control);
        let Some(size) = usize::from_str_radix(size, 16).ok().filter(|_| is_clean) else {
            return false;
        };
        if size == 0 {
            return behind == "\r\n";
        }
        let end = behind.get(size..size + 2);
        if end != Some("\r\n") {
            return false;
        }
        rest = &behind[size + 2..];
    }
    false
}

/// What stands between the first and the last space of the request line.
fn target(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    let line = bytes.split(|&byte| byte == b'\r').next()?;
    let start = line.iter().position(|&byte| byte == b' ')? + 1;
    let end = line.iter().rposition(|&byte| byte == b' ')?;
    line.get(start..end)
}
