//! Sends mail to owners of accounts over SMTP. Never logs an address, a token or a word that a mail server said.

mod letter;
pub(crate) mod outbox;

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use lettre::message::header::{
    ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0,
};
use lettre::message::{Body, Mailbox};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use portcullis_ops::Secret;

use crate::config::{Mail, MailPassword, MailTls};
use crate::domain::{Email, MailToken};
use crate::store::LeasedMail;
use letter::Pages;

/// One mail, from the connection to the server's word that it has it.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// More is neither a password nor a few certificates.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Why mail cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// A file that a setting names cannot be read.
    #[error("{variable}: {} cannot be read", path.display())]
    File {
        /// The setting.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The authorities' certificates are none.
    #[error("SMTP_CA_FILE: {} holds no certificate in PEM", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// TLS cannot be set up for the server's name.
    #[error("SMTP_HOST: TLS cannot be set up for it")]
    Tls(#[source] lettre::transport::smtp::Error),
    /// The sender's address is not one that mail can come from.
    #[error("SMTP_FROM: mail cannot come from it")]
    From(#[source] lettre::address::AddressError),
}

/// Why one mail was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The server could not be spoken to: nothing was wrong with the mail.
    Unreachable(String),
    /// Not now.
    Deferred(String),
    /// Never: the server knows nobody of that address, or wants nothing from us for it.
    Refused(String),
}

/// Writes letters and hands them to the mail server.
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    pages: Pages,
}

impl Mailer {
    pub(crate) fn new(mail: &Mail, issuer: &str) -> Result<Self, MailError> {
        let (name, address) = &mail.from;
        let from = Mailbox::new(name.clone(), to_address(address).map_err(MailError::From)?);
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
            .port(mail.port)
            .tls(tls(mail)?)
            .timeout(Some(SEND_TIMEOUT))
            .hello_name(ClientId::Domain(address.domain().to_owned()));
        if let Some((user, password)) = &mail.login {
            let password = obtain(password)?;
            transport =
                transport.credentials(Credentials::new(user.clone(), password.expose().clone()));
        }
        Ok(Self {
            transport: transport.build(),
            from,
            pages: Pages {
                issuer: issuer.to_owned(),
                reset: mail.reset_url.clone(),
                verify: mail.verify_url.clone(),
            },
        })
    }

    /// Returns when the server has it.
    pub(crate) async fn send(&self, mail: &LeasedMail, token: &MailToken) -> Result<(), SendError> {
        let message = self.message(mail, token)?;
        match tokio::time::timeout(SEND_TIMEOUT, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(SendError::of(&error)),
            Err(_) => Err(SendError::Unreachable("it took too long".to_owned())),
        }
    }

    fn message(&self, mail: &LeasedMail, token: &MailToken) -> Result<Message, SendError> {
        let unsendable =
            |what: &str| SendError::Refused(format!("the {what} cannot be written into a mail"));
        let to = to_address(&mail.to).map_err(|_| unsendable("address"))?;
        let (subject, text) = self.pages.letter(mail.kind, token);
        // Attempts differ, since each carries another token: who has two must not throw the newer away as a copy.
        let id = format!(
            "<{}.{}@{}>",
            mail.id,
            mail.attempts,
            self.from.email.domain()
        );
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(id))
            .date_now()
            .raw_header(automatic())
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(as_it_is(text.expose()))
            .map_err(|_| unsendable("letter"))
    }
}

/// Unfolded where lines allow it, so that a link is one piece for whoever reads the source.
fn as_it_is(text: &str) -> Body {
    /// RFC 5321 section 4.5.3.1.6, less the end of the line.
    const LINE_MAX: usize = 998;
    if text.is_ascii() && text.lines().all(|line| line.len() <= LINE_MAX) {
        let lines = text.replace('\n', "\r\n").into_bytes();
        return Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit);
    }
    Body::new(text.to_owned())
}

/// Nobody's holiday notice answers it (RFC 3834).
fn automatic() -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    HeaderValue::new(name, "auto-generated".to_owned())
}

impl SendError {
    fn of(error: &lettre::transport::smtp::Error) -> Self {
        if let Some(code) = error.status() {
            let code = code.to_string();
            let said = format!("the server answered {code}");
            return match code.as_str() {
                "550" | "551" | "553" => Self::Refused(said),
                _ => Self::Deferred(said),
            };
        }
        // What else a server said is not repeated: it may name the recipient.
        Self::Unreachable(match error {
            error if error.is_timeout() => "it took too long".to_owned(),
            error if error.is_tls() => format!("TLS failed: {}", chain(error)),
            error if error.is_response() => "the server's answer cannot be understood".to_owned(),
            error => chain(error),
        })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn to_address(email: &Email) -> Result<Address, lettre::address::AddressError> {
    Address::new(email.local_part(), email.domain())
}

fn tls(mail: &Mail) -> Result<Tls, MailError> {
    if mail.tls == MailTls::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(mail.host.clone());
    match &mail.ca_file {
        None => parameters = parameters.certificate_store(CertificateStore::WebpkiRoots),
        Some(path) => {
            parameters = parameters.certificate_store(CertificateStore::None);
            for certificate in authorities(path)? {
                parameters = parameters.add_root_certificate(certificate);
            }
        }
    }
    let parameters = parameters.build_rustls().map_err(MailError::Tls)?;
    Ok(match mail.tls {
        MailTls::Tls => Tls::Wrapper(parameters),
        MailTls::StartTls | MailTls::None => Tls::Required(parameters),
    })
}

fn authorities(path: &PathBuf) -> Result<Vec<Certificate>, MailError> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = read("SMTP_CA_FILE", path)?;
    let none = || MailError::Authorities { path: path.clone() };
    let blocks = text
        .split_inclusive(END)
        .filter(|block| block.contains("-----BEGIN CERTIFICATE-----"));
    let found: Result<Vec<_>, _> = blocks
        .map(|block| Certificate::from_pem(block.as_bytes()))
        .collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(none)
}

fn obtain(password: &MailPassword) -> Result<Secret<String>, MailError> {
    match password {
        MailPassword::Inline(password) => Ok(password.clone()),
        MailPassword::File(path) => {
            let text = Secret::new(read("SMTP_PASSWORD_FILE", path)?);
            Ok(Secret::new(
                text.expose().trim_end_matches(['\r', '\n']).to_owned(),
            ))
        }
    }
}

fn read(variable: &'static str, path: &PathBuf) -> Result<String, MailError> {
    let failed = |source| MailError::File {
        variable,
        path: path.clone(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidData,
            "is too large",
        )));
    }
    fs::read_to_string(path).map_err(failed)
}
