//! A deployment of three instances behind a balancer, all in this process, good in everything but at
//! most one thing. Never more than what a visitor can see of one: nothing is really balanced.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Identity};
use state::State;

mod answer;
mod state;

/// Everything that can be wrong, one thing each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name is a sentence")]
pub enum Flaw {
    CertificateForAnotherName,
    CertificateExpired,
    CertificateOfAStranger,
    OldTlsIsAccepted,
    OneHealthPathFails,
    OneInstanceIsPreferred,
    OneInstanceGetsNothing,
    CookieIsNotRead,
    CookieNamesAnAddress,
    CookieLacksHttpOnly,
    CookieLacksSameSite,
    CookieLacksSecure,
    ForgedCookieIsAnError,
    ForgedCookieGetsNoNewOne,
    ClaimedAddressIsBelieved,
    ClaimedIdentityReachesEndpoints,
    HopByHopFieldIsPassedOn,
    SchemeIsNotTold,
    AnswersCarryNoRequestId,
    ErrorNamesAnEndpoint,
    ErrorShowsATrace,
    ClaimedInstanceIsRepeated,
    HealthCauseReachesStrangers,
    OneInstanceForgetsLogouts,
    OneInstanceRefusesFreshTokens,
    RequestsFailWhenAnInstanceLeaves,
    BoundClientsFailWhenTheirInstanceLeaves,
    BoundClientsMoveWithoutNewCookie,
    GuessesAreCountedByEachInstanceAlone,
    GuessesAreNotCounted,
}

/// A running deployment. Dropping it closes the port.
pub struct Deployment {
    address: SocketAddr,
    is_https: bool,
    authority: Authority,
    state: Arc<State>,
    accept: JoinHandle<()>,
}

impl Deployment {
    /// The account that can log in.
    pub const EMAIL: &str = "ada@example.com";
    /// Its password.
    pub const PASSWORD: &str = "correct horse battery staple";
    /// Answers with the headers that an endpoint received.
    pub const ECHO_PATH: &str = "/echo";

    /// Starts one on a port of its own.
    pub async fn start(flaw: Option<Flaw>) -> Deployment {
        Deployment::listen(flaw, false).await
    }

    /// Starts one that speaks TLS, as `localhost`.
    pub async fn start_with_tls(flaw: Option<Flaw>) -> Deployment {
        Deployment::listen(flaw, true).await
    }

    async fn listen(flaw: Option<Flaw>, is_https: bool) -> Deployment {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("loopback binds");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let authority = Authority::new();
        let state = Arc::new(State::new(flaw, is_https));
        let acceptor = is_https.then(|| acceptor(&authority, flaw));
        let accept = tokio::spawn(accept_loop(listener, acceptor, Arc::clone(&state)));
        Deployment {
            address,
            is_https,
            authority,
            state,
            accept,
        }
    }

    /// Where clients reach it.
    pub fn url(&self) -> String {
        if self.is_https {
            format!("https://localhost:{}", self.address.port())
        } else {
            format!("http://{}", self.address)
        }
    }

    /// PEM file with the authority that clients should believe.
    pub fn authorities(&self) -> PathBuf {
        self.authority.root_file()
    }

    /// Lets one of the instances leave for good.
    pub fn stop_an_instance(&self) {
        self.state.stop_an_instance();
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

fn acceptor(authority: &Authority, flaw: Option<Flaw>) -> TlsAcceptor {
    let identity: Identity = match flaw {
        Some(Flaw::CertificateForAnotherName) => authority.issue("site", &["other.example"]),
        Some(Flaw::CertificateExpired) => authority.issue_expired("site", &["localhost"]),
        Some(Flaw::CertificateOfAStranger) => {
            let stranger = Authority::new();
            return stranger.issue("site", &["localhost"]).acceptor();
        }
        _ => authority.issue("site", &["localhost"]),
    };
    identity.acceptor()
}

async fn accept_loop(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<State>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else {
                return serve(tcp, state).await;
            };
            if state.has(Flaw::OldTlsIsAccepted) && offers_old_tls(&tcp).await {
                let mut tcp = tcp;
                // The client may be satisfied with less than all of it.
                let _ = tcp.write_all(OLD_SERVER_HELLO).await;
            } else if let Ok(tls) = acceptor.accept(tcp).await {
                serve(tls, state).await;
            }
        });
    }
}

/// Whether the first record is a ClientHello of TLS 1.1: TLS 1.3 says 1.2 there.
async fn offers_old_tls(tcp: &TcpStream) -> bool {
    let mut head = [0; 11];
    while let Ok(read @ 1..) = tcp.peek(&mut head).await {
        if read == head.len() {
            return head[9..] == [3, 2];
        }
    }
    false
}

/// The beginning of a ServerHello of TLS 1.1, which nobody reads to its end.
const OLD_SERVER_HELLO: &[u8] = &[22, 3, 2, 0, 4, 2, 0, 0, 0];

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer::to(request, &state).await) }
    });
    // The visitor's disappearance is the visitor's business.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
