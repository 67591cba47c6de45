//! Who a verified client certificate is of, in fields for endpoints. Never reads one that was not
//! verified.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use x509_parser::der_parser::Oid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// A client as its certificate names it.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// Distinguished name (RFC 4514).
    pub subject: HeaderValue,
    /// Alternative names: `DNS:a.example,URI:spiffe://b`, commas in them encoded.
    pub names: Option<HeaderValue>,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub fingerprint: HeaderValue,
    /// Lower-case hexadecimal.
    pub serial: HeaderValue,
    /// The certificate as RFC 9440 has it.
    pub certificate: HeaderValue,
    /// What it showed above that, unverified, where endpoints are told of it.
    pub chain: Option<HeaderValue>,
    /// Until when it is valid, seconds since the Unix epoch.
    pub not_after_unix_seconds: i64,
}

/// A certificate that was verified and still tells nobody's name: its client must not pass for one
/// that showed none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl ClientIdentity {
    /// Whose a verified chain is, if a client showed one.
    pub(crate) fn of(
        chain: Option<&[CertificateDer<'_>]>,
        sends_chain: bool,
    ) -> Result<Option<Self>, Unreadable> {
        let Some((leaf, above)) = chain.and_then(<[_]>::split_first) else {
            return Ok(None);
        };
        let mut identity = Self::read(leaf).ok_or(Unreadable)?;
        if sends_chain {
            identity.chain = chain_field(above);
        }
        Ok(Some(identity))
    }

    /// Reads a certificate. `None` if it cannot be read, though it was verified.
    fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let alternatives = certificate.subject_alternative_name().ok()?;
        let names = alternatives.map(|found| names(&found.value.general_names));
        let text = |text: String| HeaderValue::from_str(&text).ok();
        Some(Self {
            subject: text(distinguished_name(certificate.subject()))?,
            names: match names {
                Some(names) if !names.is_empty() => Some(text(names)?),
                _ => None,
            },
            fingerprint: text(hexadecimal(digest(&SHA256, der).as_ref()))?,
            serial: text(hexadecimal(certificate.raw_serial()))?,
            certificate: text(byte_sequence(der))?,
            chain: None,
            not_after_unix_seconds: certificate.validity().not_after.timestamp(),
        })
    }
}

/// A list of byte sequences (RFC 9440, 2.3). `None` where there is nothing to tell, or too much for
/// fields of a request.
fn chain_field(above: &[CertificateDer<'_>]) -> Option<HeaderValue> {
    let items: Vec<String> = above.iter().map(|der| byte_sequence(der)).collect();
    let text = items.join(", ");
    let fits = (1..=CHAIN_BYTES_MAX).contains(&text.len());
    HeaderValue::from_str(&text).ok().filter(|_| fits)
}

/// RFC 8941, 3.3.5.
fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

/// Three authorities with large keys fit, and most endpoints take that much.
const CHAIN_BYTES_MAX: usize = 16 * 1024;

/// RFC 4514: the last part first, with everything escaped that could be taken for more.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter().collect();
    let mut text = String::new();
    for part in parts.into_iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            let known = known_type(attribute.attr_type());
            match (known, attribute.as_str()) {
                (Some(known), Ok(value)) => {
                    text.push_str(known);
                    text.push('=');
                    escape(value, &mut text);
                }
                _ => {
                    text.push_str(&attribute.attr_type().to_id_string());
                    text.push_str("=#");
                    text.push_str(&hexadecimal(attribute.attr_value().data));
                }
            }
        }
    }
    text
}

/// The short names of RFC 4514, section 3.
fn known_type(oid: &Oid<'_>) -> Option<&'static str> {
    Some(match oid.to_id_string().as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.6" => "C",
        "2.5.4.9" => "STREET",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        _ => return None,
    })
}

fn escape(value: &str, out: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let is_edge = at == 0 || at == last;
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if is_edge => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\{byte:02x}")),
        }
    }
}

fn names(names: &[GeneralName<'_>]) -> String {
    let texts = names.iter().filter_map(|name| {
        let (kind, value) = match name {
            GeneralName::DNSName(value) => ("DNS", (*value).to_owned()),
            GeneralName::RFC822Name(value) => ("email", (*value).to_owned()),
            GeneralName::URI(value) => ("URI", (*value).to_owned()),
            GeneralName::IPAddress(bytes) => ("IP", address(bytes)?),
            _ => return None,
        };
        Some(format!("{kind}:{}", encoded(&value)))
    });
    texts.collect::<Vec<_>>().join(",")
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from));
    address.ok().map(|address| address.to_string())
}

/// Nothing in a name looks like the end of it.
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b',' | b'"' | b'\\' => text.push_str(&format!("%{byte:02X}")),
            b'!'..=b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn identity(change: impl FnOnce(&mut CertificateParams)) -> ClientIdentity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let signed = params.self_signed(&key).unwrap();
        ClientIdentity::read(signed.der()).unwrap()
    }

    #[test]
    fn chains_too_long_for_a_field_are_left_out() {
        let of = |lengths: &[usize]| {
            let of_length = |length: &usize| CertificateDer::from(vec![0; *length]);
            let above: Vec<_> = lengths.iter().map(of_length).collect();
            chain_field(&above)
        };
        assert_eq!(of(&[3, 1]).unwrap(), ":AAAA:, :AA==:");
        assert_eq!(of(&[]), None);
        assert!(of(&[6000, 6000]).is_some());
        assert_eq!(of(&[6000, 6300]), None);
    }

    #[test]
    fn subject_begins_with_its_last_part() {
        let identity = identity(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::OrganizationName, "Example");
            name.push(DnType::CommonName, "app");
        });
        assert_eq!(identity.subject, "CN=app,O=Example");
        assert_eq!(identity.names, None);
    }

    #[test]
    fn no_name_can_pretend_to_be_two() {
        let identity = identity(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CommonName, " a,O=Root+x=\"y\" \u{e9}\r\n#");
            let uri = SanType::URI("spiffe://a/b,DNS:c%20".try_into().unwrap());
            params.subject_alt_names = vec![uri];
        });
        let expected = "CN=\\ a\\,O\\=Root\\+x\\=\\\"y\\\" \\c3\\a9\\0d\\0a#";
        assert_eq!(identity.subject.to_str().unwrap(), expected);
        let names = identity.names.unwrap();
        assert_eq!(names, "URI:spiffe://a/b%2CDNS:c%20");
    }

    #[test]
    fn alternative_names_tell_their_kind() {
        let identity = identity(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("a.example".try_into().unwrap()),
                SanType::IpAddress("2001:db8::1".parse().unwrap()),
                SanType::Rfc822Name("b@example".try_into().unwrap()),
            ];
        });
        let names = identity.names.unwrap();
        assert_eq!(names, "DNS:a.example,IP:2001:db8::1,email:b@example");
        assert_eq!(identity.fingerprint.len(), 64);
        let field = identity.certificate.to_str().unwrap();
        assert!(field.starts_with(':') && field.ends_with(':'));
    }

    #[test]
    fn what_is_no_certificate_is_nobody() {
        assert!(ClientIdentity::read(b"").is_none());
        let strange = [CertificateDer::from(vec![0x30, 0])];
        let told = ClientIdentity::of(Some(&strange), false).map(|told| told.is_some());
        assert_eq!(
            told,
            Err(Unreadable),
            "and does not pass for a client without one"
        );
        assert!(matches!(ClientIdentity::of(None, false), Ok(None)));
        assert!(ClientIdentity::read(&[0x30, 0x82, 0xff, 0xff]).is_none());
    }
}
