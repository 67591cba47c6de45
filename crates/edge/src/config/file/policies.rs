//! What is added to answers and made of paths, as written. Compares only keys that mean nothing together.

use http::{HeaderName, HeaderValue, Method};
use portcullis_ops::decode::{Fields, Located, Mistake};
use portcullis_traffic::route::{
    DotSegments, DoubleSlash, EncodedSlash, Oddity, PathRules, normalize_host,
};

use super::super::policies::{Cors, CorsPolicy, Origin, SecurityHeaders};
use super::super::words;

mod presets;

/// `None` where it is left out or mistaken.
pub(super) fn cors(parent: &Fields<'_>) -> Option<Cors> {
    let fields = parent.optional_table("cors")?;
    let report = fields.report();
    if fields.word("owner").value == "endpoint" {
        for key in ["origins", "methods", "headers", "expose"] {
            if fields.is_written(key) {
                let message = format!("`{key}` has no effect with `owner: endpoint`");
                let hint = "the endpoint says it; leave this out, or leave `owner` out";
                report.error_with_hint(fields.span_of(key), message, hint);
            }
        }
        return Some(Cors::Endpoint);
    }
    let written = fields.texts("origins", origin);
    if written.is_empty() && !report.has_errors() {
        let message = "`cors` names no origin";
        let hint = "write them under `origins`: [\"https://app.example.com\"]";
        report.error_with_hint(fields.span(), message, hint);
    }
    let credentials = fields.flag("credentials");
    if let Some(any) = written.iter().find(|one| one.value == Origin::Any)
        && credentials.value
    {
        let message = "every page of the web could act for its visitor";
        let hint = "name the origins, or leave `credentials` out";
        report.error_with_hint(any.span, message, hint);
    }
    if let Some(null) = written.iter().find(|one| one.value == Origin::Null) {
        let message = "any page can make itself an origin of `null`, in a sandbox";
        let hint = "leave it out unless pages in files have to read answers";
        report.warning(null.span, message, hint);
    }
    let methods = fields.texts("methods", words::method);
    let headers = fields.texts("headers", words::field);
    let is_any = headers.iter().any(|name| name.value.as_str() == "*");
    let expose = fields.texts("expose", words::field);
    Some(Cors::Edge(Box::new(CorsPolicy {
        origins: written.into_iter().map(|one| one.value).collect(),
        methods: match methods.is_empty() {
            true => METHODS.to_vec(),
            false => methods.into_iter().map(|method| method.value).collect(),
        },
        headers: match (is_any, fields.is_written("headers")) {
            (true, _) => None,
            (false, true) => Some(headers.into_iter().map(|name| name.value).collect()),
            (false, false) => Some(vec![
                http::header::CONTENT_TYPE,
                http::header::AUTHORIZATION,
            ]),
        },
        expose: expose.into_iter().map(|name| name.value).collect(),
        credentials: credentials.value,
        max_age: fields.duration("max_age").value,
    })))
}

/// `None` where nothing is said; `off` is an empty set, which hides what a listener says.
pub(super) fn security_headers(parent: &Fields<'_>) -> Option<SecurityHeaders> {
    if !parent.is_written("security_headers") {
        return None;
    }
    let fields = parent.short("security_headers");
    let preset = fields.word("preset").value;
    let written = fields.map("set", |name, value| {
        let name = words::changeable_field(name)?;
        if name == http::header::STRICT_TRANSPORT_SECURITY {
            let hint = "use `hsts_max_age`, `hsts_subdomains` and `hsts_preload`";
            return Err(Mistake::new("has keys of its own", hint));
        }
        // What tools make of `off` when they rewrite YAML.
        let value = match value {
            "off" | "false" => None,
            value => Some(HeaderValue::from_str(value).map_err(|_| {
                Mistake::new("is no value of a header field", "write visible characters")
            })?),
        };
        Ok((name, value))
    });
    if preset == "off" {
        return Some(SecurityHeaders {
            fields: Vec::new(),
            removed: Vec::new(),
            hsts: None,
            overwrites: false,
        });
    }
    let mut set: Vec<(HeaderName, HeaderValue)> = presets::fields(preset);
    for (name, value) in written.into_iter().map(|one| one.value) {
        set.retain(|(known, _)| *known != name);
        set.extend(value.map(|value| (name, value)));
    }
    Some(SecurityHeaders {
        fields: set,
        removed: presets::REMOVED.to_vec(),
        hsts: hsts(&fields),
        overwrites: fields.flag("overwrite").value,
    })
}

fn hsts(fields: &Fields<'_>) -> Option<HeaderValue> {
    let (max_age, subdomains) = (
        fields.duration("hsts_max_age"),
        fields.flag("hsts_subdomains"),
    );
    let preload = fields.flag("hsts_preload");
    let seconds = max_age.value.as_secs();
    if preload.value && (seconds < PRELOAD_SECONDS_MIN || !subdomains.value) {
        let message = "browsers preload no name with so little";
        let hint = "`hsts_max_age: 8760h` at least, and `hsts_subdomains: true`";
        fields.report().error_with_hint(preload.span, message, hint);
    }
    if !fields.flag("hsts").value {
        return None;
    }
    let subdomains = if subdomains.value {
        "; includeSubDomains"
    } else {
        ""
    };
    let preload = if preload.value { "; preload" } else { "" };
    HeaderValue::try_from(format!("max-age={seconds}{subdomains}{preload}")).ok()
}

/// The port that plain HTTP is sent to.
pub(super) fn redirect_to_https(parent: &Fields<'_>) -> Option<Located<u16>> {
    if !parent.is_written("redirect_to_https") {
        return None;
    }
    let fields = parent.short("redirect_to_https");
    let port = fields.number("port");
    fields.flag("on").value.then_some(Located {
        span: fields.span(),
        ..port
    })
}

/// What becomes of odd paths.
pub(super) fn paths(parent: &Fields<'_>) -> PathRules {
    let fields = parent.table("paths");
    let oddity = |key| match fields.word(key).value {
        "refuse" => Oddity::Refuse,
        _ => Oddity::Keep,
    };
    PathRules {
        encoded_slash: match fields.word("encoded_slash").value {
            "refuse" => EncodedSlash::Refuse,
            "decode" => EncodedSlash::Decode,
            _ => EncodedSlash::Keep,
        },
        dot_segments: match fields.word("dot_segments").value {
            "resolve" => DotSegments::Resolve,
            _ => DotSegments::Refuse,
        },
        double_slash: match fields.word("double_slash").value {
            "merge" => DoubleSlash::Merge,
            "refuse" => DoubleSlash::Refuse,
            _ => DoubleSlash::Keep,
        },
        backslash: oddity("backslash"),
        parameters: oddity("parameters"),
        bad_encoding: oddity("bad_encoding"),
        ambiguous: oddity("ambiguous"),
    }
}

/// An origin as browsers write it (RFC 6454, 6.2), in lower case and without the port of its scheme.
fn origin(text: &str) -> Result<Origin, Mistake> {
    let wrong = || {
        let hint = "a scheme and a host, and a port if it is not the usual one, without a path: https://app.example.com";
        Mistake::new("is not an origin", hint)
    };
    let text = text.to_ascii_lowercase();
    match text.as_str() {
        "*" => return Ok(Origin::Any),
        "null" => return Ok(Origin::Null),
        _ => {}
    }
    let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
    let usual = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    if !usual.is_empty() && authority.ends_with(usual) {
        let hint = format!("browsers leave the usual port out: write it without {usual}");
        return Err(Mistake::new("is no origin that a browser sends", hint));
    }
    let name = authority.strip_prefix("*.").unwrap_or(authority);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    let is_sound = !scheme.is_empty()
        && !normalize_host(name).is_empty()
        && !name.ends_with(':')
        && name.bytes().all(is_plain);
    match authority.starts_with("*.") {
        _ if !is_sound => Err(wrong()),
        true => Ok(Origin::Below {
            scheme: format!("{scheme}://"),
            rest: format!(".{name}"),
        }),
        false => Ok(Origin::Exact(text.clone())),
    }
}

const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// What hstspreload.org asks for: a year.
const PRELOAD_SECONDS_MIN: u64 = 365 * 24 * 3600;
