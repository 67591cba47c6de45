//! The listener for edges and scrapers: where it is, and what opens it. Never repeats a token in a
//! message.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use portcullis_ops::Secret;

use super::secrets::is_example;
use super::values::Values;
use super::{Environment, Variable, var};

pub(super) const VARIABLES: &[Variable] = &[
    var(
        "INTERNAL_ADDRESS",
        "none",
        "address and port of a listener for edges and scrapers: revocations, and /metrics, which then is only there",
    ),
    var(
        "INTERNAL_TOKEN",
        "none",
        "what edges send there as a bearer token, 32 characters or more; not needed on loopback",
    ),
    var("INTERNAL_TOKEN_FILE", "none", "file holding the same"),
];

const ADDRESS: &str = "INTERNAL_ADDRESS";
const TOKEN: &str = "INTERNAL_TOKEN";
const TOKEN_FILE: &str = "INTERNAL_TOKEN_FILE";

/// The listener for edges.
#[derive(Debug, Clone)]
pub struct Internal {
    /// Where it listens.
    pub address: SocketAddr,
    /// What opens it; `None` only on loopback.
    pub token: Option<TokenSource>,
}

/// Where the token of the internal listener comes from.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// Given in the environment.
    Inline(Secret<String>),
    /// Read from a file.
    File(PathBuf),
}

impl Internal {
    /// `None` when there is none.
    pub(super) fn read(v: &mut Values<'_>, environment: Environment) -> Option<Self> {
        let token = token(v, environment);
        let Some(text) = v.get(ADDRESS) else {
            if token.is_some() {
                // No mistake: edges take it from a variable of this name, and commands open nothing.
                v.warnings.push(
                    "INTERNAL_TOKEN is set, but INTERNAL_ADDRESS is not: no edge can follow revocations here"
                        .to_owned(),
                );
            }
            return None;
        };
        let Ok(address) = text.trim().parse::<SocketAddr>() else {
            v.error(
                ADDRESS,
                format!("{text:?} is not an IP address with a port"),
                "use 127.0.0.1:8100, or [::1]:8100",
            );
            return None;
        };
        if !is_of_this_machine(address.ip()) && token.is_none() {
            v.error(
                ADDRESS,
                "is not a loopback address, and there is no INTERNAL_TOKEN",
                "set INTERNAL_TOKEN_FILE; make a token with: openssl rand -hex 32",
            );
        }
        Some(Self { address, token })
    }
}

/// What a token has to be like, or what is wrong with it.
pub(crate) fn check_token(token: &str) -> Result<(), &'static str> {
    let is_sound =
        (32..=512).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_sound
        .then_some(())
        .ok_or("is not 32 to 512 visible characters without spaces")
}

fn token(v: &mut Values<'_>, environment: Environment) -> Option<TokenSource> {
    const HINT: &str = "make one with: openssl rand -hex 32; give edges the same";
    match (v.get(TOKEN), v.get(TOKEN_FILE)) {
        (Some(_), Some(file)) => {
            v.error(
                TOKEN,
                "is set together with INTERNAL_TOKEN_FILE",
                "set one of the two",
            );
            Some(TokenSource::File(file.into()))
        }
        (None, Some(file)) => Some(TokenSource::File(file.into())),
        (None, None) => None,
        (Some(token), None) => {
            let token = Secret::new(token.trim().to_owned());
            if let Err(message) = check_token(token.expose()) {
                v.error(TOKEN, message, HINT);
            } else if environment.is_production() && is_example(token.expose()) {
                v.error(TOKEN, "looks like an example", HINT);
            }
            Some(TokenSource::Inline(token))
        }
    }
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
