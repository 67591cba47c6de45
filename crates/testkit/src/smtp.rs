//! A mail server that keeps what it is sent, and fails in every way that one can. Never sends anything on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Identity, provider};
use crate::wait::wait_until;

/// No honest client writes more on one line.
const LINE_MAX: usize = 64 * 1024;
/// No test sends more.
const LETTER_MAX: usize = 1024 * 1024;

/// What it does to whoever brings mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpFault {
    /// Takes it.
    None,
    /// Closes every connection at once.
    Refuses,
    /// Takes connections and never says a word.
    Hangs,
    /// Puts every recipient off: 451.
    Busy,
    /// Knows no recipient: 550.
    Rejects,
    /// Closes in the middle of the letter.
    ClosesMidData,
    /// Keeps the letter and closes before saying so.
    ClosesAfterData,
}

/// One mail as it came.
#[derive(Clone, Debug)]
pub struct Letter {
    /// From whom, by the envelope.
    pub from: String,
    /// To whom, by the envelope.
    pub to: Vec<String>,
    /// Headers and body, lines ended by CR LF.
    pub data: String,
    /// Whether it came over TLS.
    pub is_private: bool,
    /// What the sender logged in with: the argument of `AUTH PLAIN`, base64.
    pub login: Option<String>,
}

impl Letter {
    /// The value of a header that is there once.
    ///
    /// # Panics
    /// When it is not there, or twice.
    pub fn header(&self, name: &str) -> &str {
        let (head, _) = self.parts();
        let values = head.split("\r\n").filter_map(|line| line.split_once(": "));
        let mut found = values.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (Some((_, value)), None) = (found.next(), found.next()) else {
            panic!("not one header {name} in\n{}", self.data);
        };
        value
    }

    /// What stands below the headers.
    pub fn body(&self) -> &str {
        self.parts().1
    }

    /// The token that the letter carries.
    ///
    /// # Panics
    /// When there is none.
    pub fn token(&self) -> &str {
        let Some((_, rest)) = self.body().split_once("#token=") else {
            panic!("no token in\n{}", self.data);
        };
        rest.split_whitespace().next().unwrap_or_default()
    }

    fn parts(&self) -> (&str, &str) {
        self.data
            .split_once("\r\n\r\n")
            .expect("headers end with an empty line")
    }
}

#[derive(Debug)]
struct State {
    fault: SmtpFault,
    letters: Vec<Letter>,
    connections: usize,
}

/// The server.
pub struct SmtpSink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accept: JoinHandle<()>,
}

impl SmtpSink {
    /// Starts one that speaks in the clear alone.
    pub async fn start() -> SmtpSink {
        SmtpSink::serve(None, false).await
    }

    /// Starts one that takes mail only after STARTTLS.
    pub async fn start_tls(identity: &Identity) -> SmtpSink {
        SmtpSink::serve(Some(acceptor(identity)), false).await
    }

    /// Starts one that speaks TLS from the first byte.
    pub async fn start_wrapped(identity: &Identity) -> SmtpSink {
        SmtpSink::serve(Some(acceptor(identity)), true).await
    }

    async fn serve(tls: Option<TlsAcceptor>, is_wrapped: bool) -> SmtpSink {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State {
            fault: SmtpFault::None,
            letters: Vec::new(),
            connections: 0,
        }));
        let shared = Arc::clone(&state);
        let accept = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                lock(&shared).connections += 1;
                let (tls, state) = (tls.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    // How a connection ends is the client's affair.
                    let _ = meet(tcp, tls, is_wrapped, state).await;
                });
            }
        });
        SmtpSink {
            address,
            state,
            accept,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Fails so from now on.
    pub fn set(&self, fault: SmtpFault) {
        lock(&self.state).fault = fault;
    }

    /// What came, in order.
    pub fn letters(&self) -> Vec<Letter> {
        lock(&self.state).letters.clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }

    /// Waits until `count` letters came, and returns all.
    pub async fn wait_for(&self, count: usize) -> Vec<Letter> {
        wait_until("a letter", async || {
            let letters = self.letters();
            (letters.len() >= count).then_some(letters)
        })
        .await
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

fn acceptor(identity: &Identity) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file(&identity.cert).expect("issued as PEM");
    let key = PrivateKeyDer::from_pem_file(&identity.key).expect("issued as PEM");
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("certificate and key were issued together");
    TlsAcceptor::from(Arc::new(config))
}

async fn meet(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    is_wrapped: bool,
    state: Arc<Mutex<State>>,
) -> std::io::Result<()> {
    let fault = lock(&state).fault;
    if fault == SmtpFault::Refuses {
        return Ok(());
    }
    if fault == SmtpFault::Hangs {
        let mut stream = BufStream::new(tcp);
        // Until the client goes.
        while stream.read_line(&mut String::new()).await? > 0 {}
        return Ok(());
    }
    let Some(tls) = tls else {
        return Talk::new(state, false, false)
            .with(&mut BufStream::new(tcp))
            .await
            .map(drop);
    };
    if is_wrapped {
        let mut stream = BufStream::new(tls.accept(tcp).await?);
        return Talk::new(state, true, false)
            .with(&mut stream)
            .await
            .map(drop);
    }
    let mut stream = BufStream::new(tcp);
    let wants_tls = Talk::new(Arc::clone(&state), false, true)
        .with(&mut stream)
        .await?;
    if wants_tls {
        let mut stream = BufStream::new(tls.accept(stream.into_inner()).await?);
        let mut talk = Talk::new(state, true, false);
        talk.is_greeted = true;
        talk.with(&mut stream).await?;
    }
    Ok(())
}

/// One connection's conversation.
struct Talk {
    state: Arc<Mutex<State>>,
    is_private: bool,
    wants_tls: bool,
    is_greeted: bool,
    from: String,
    to: Vec<String>,
    login: Option<String>,
}

impl Talk {
    fn new(state: Arc<Mutex<State>>, is_private: bool, wants_tls: bool) -> Talk {
        Talk {
            state,
            is_private,
            wants_tls,
            is_greeted: false,
            from: String::new(),
            to: Vec::new(),
            login: None,
        }
    }

    /// Whether it ended for TLS to begin.
    async fn with<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut BufStream<S>,
    ) -> std::io::Result<bool> {
        if !self.is_greeted {
            say(stream, "220 sink ready").await?;
        }
        while let Some(line) = hear(stream).await? {
            let (verb, rest) = line.split_once(' ').unwrap_or((line.as_str(), ""));
            let answer = match verb.to_ascii_uppercase().as_str() {
                "EHLO" if self.wants_tls => "250-sink\r\n250 STARTTLS",
                "EHLO" => "250-sink\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                "STARTTLS" if self.wants_tls => {
                    say(stream, "220 go on").await?;
                    return Ok(true);
                }
                "AUTH" => {
                    self.login = rest.split_once(' ').map(|(_, login)| login.to_owned());
                    "235 welcome"
                }
                "MAIL" if self.wants_tls => "530 STARTTLS first",
                "MAIL" => {
                    self.from = address(rest);
                    self.to.clear();
                    "250 ok"
                }
                "RCPT" => self.recipient(rest),
                "DATA" => {
                    if !self.letter(stream).await? {
                        return Ok(false);
                    }
                    "250 kept"
                }
                "RSET" | "NOOP" => "250 ok",
                "QUIT" => {
                    say(stream, "221 bye").await?;
                    return Ok(false);
                }
                _ => "502 what?",
            };
            say(stream, answer).await?;
        }
        Ok(false)
    }

    fn recipient(&mut self, rest: &str) -> &'static str {
        match lock(&self.state).fault {
            SmtpFault::Busy => return "451 later",
            SmtpFault::Rejects => return "550 nobody of that name",
            _ => {}
        }
        self.to.push(address(rest));
        "250 ok"
    }

    /// `false`: the connection is over.
    async fn letter<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut BufStream<S>,
    ) -> std::io::Result<bool> {
        let fault = lock(&self.state).fault;
        say(stream, "354 go on").await?;
        let mut data = String::new();
        loop {
            let Some(line) = hear(stream).await? else {
                return Ok(false);
            };
            if line == "." {
                break;
            }
            if fault == SmtpFault::ClosesMidData {
                return Ok(false);
            }
            data.push_str(line.strip_prefix('.').unwrap_or(&line));
            data.push_str("\r\n");
            assert!(data.len() <= LETTER_MAX, "a letter without end");
        }
        lock(&self.state).letters.push(Letter {
            from: self.from.clone(),
            to: self.to.clone(),
            data,
            is_private: self.is_private,
            login: self.login.clone(),
        });
        Ok(fault != SmtpFault::ClosesAfterData)
    }
}

/// What stands between the angle brackets.
fn address(argument: &str) -> String {
    let inside = argument
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inside.map_or(argument, |(address, _)| address).to_owned()
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
    line: &str,
) -> std::io::Result<()> {
    stream.write_all(line.as_bytes()).await?;
    stream.write_all(b"\r\n").await?;
    stream.flush().await
}

/// `None` at the end.
async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    assert!(line.len() <= LINE_MAX, "a line without end");
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
