//! The life of one request: how it is let in, our own answers, and the native path for all others.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::answer::response;
use super::stream::ClientStream;
use crate::connection::Connection;
use crate::engine::parts::{PartsHead, suit_http1};
use crate::engine::{Control, NativeEngine, refusal};
use crate::outcome::Cause;
use crate::pipeline::{self, Answer, End, Exchange, Told};
use crate::state::Edge;

/// What requests are served with.
pub(super) struct Site {
    pub(super) edge: Arc<Edge>,
    pub(super) native: NativeEngine,
}

/// Counts a request of the connection until it is dropped.
struct Begun(Arc<Control>);

impl Begun {
    fn new(control: Arc<Control>) -> Self {
        control.begin_request();
        Self(control)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

impl Site {
    /// Serves one request to its end.
    pub(super) async fn serve(
        self: Arc<Self>,
        connection: Arc<Connection>,
        control: Arc<Control>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) {
        let begun = Begun::new(control);
        let (mut head, body) = request.into_parts();
        if let Err(cause) = check(&mut head) {
            return self.refuse(&connection, cause, &head, respond);
        }
        let now = Instant::now();
        let mut exchange = Exchange::new(Arc::clone(&self.edge), Arc::clone(&connection), now);
        if exchange.must_close(now) {
            // There is no keep-alive to end: the farewell is the connection's GOAWAY.
            begun.0.ask_to_leave();
        }
        let asked = PartsHead::new(&head);
        let mut admitted = exchange.on_request(&asked);
        if admitted.is_ok() && exchange.waits_for_keys() {
            // Bounded, and too rare to look whether the client stays.
            admitted = Box::pin(exchange.on_keys(&asked)).await;
        }
        if let Err(answer) = admitted {
            return reply(&mut exchange, answer, &head, respond);
        }
        if has_left(&mut respond).await {
            // What the dropped exchange says of itself.
            return;
        }
        let stream = ClientStream::new(&head, body, respond);
        drop(head);
        self.native
            .serve_admitted(&mut exchange, connection, stream)
            .await;
    }

    /// Answers what never became a request, and reports it.
    fn refuse(
        &self,
        connection: &Connection,
        cause: Cause,
        head: &Parts,
        respond: SendResponse<Bytes>,
    ) {
        let answer = refusal(&self.edge, cause);
        let told = Told::from(&answer);
        pipeline::report_unparsed(&self.edge, connection, cause, told, Instant::now());
        // A client that has left reads nothing.
        let _ = send(answer, head, respond);
    }
}

/// Whether a head can be handed on, said as HTTP/1.1 says it.
fn check(head: &mut Parts) -> Result<(), Cause> {
    if head.method == Method::CONNECT {
        return Err(Cause::MethodNotAllowed);
    }
    suit_http1(&mut head.headers).map_err(|_invalid| Cause::HeadMalformed)?;
    let asked = PartsHead::new(head);
    if asked.is_well_formed() && asked.is_unambiguous() {
        Ok(())
    } else {
        Err(Cause::HeadMalformed)
    }
}

/// Ends an exchange with an answer of our own.
fn reply(exchange: &mut Exchange, answer: Answer, head: &Parts, respond: SendResponse<Bytes>) {
    let status = Some(answer.status);
    let end = match send(answer, head, respond) {
        Ok(response_bytes) => End {
            status,
            response_bytes,
            failure: None,
        },
        Err(_left) => End {
            failure: Some(Cause::ClientGone),
            ..End::default()
        },
    };
    exchange.on_end(end, Instant::now());
}

/// Hands an answer to the codec, which sends it as the client's windows allow. How many bytes its body
/// has.
fn send(answer: Answer, head: &Parts, mut respond: SendResponse<Bytes>) -> Result<u64, h2::Error> {
    let answer = answer.dated();
    let mut fields = HeaderMap::with_capacity(answer.headers.len() + 1);
    for (name, value) in answer.headers {
        fields.append(name, value);
    }
    let is_bodiless = matches!(
        answer.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !is_bodiless {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    }
    let has_body = !answer.body.is_empty() && !is_bodiless && head.method != Method::HEAD;
    let response = response(answer.status, fields);
    let mut stream = respond.send_response(response, !has_body)?;
    if !has_body {
        return Ok(0);
    }
    let bytes = answer.body.len() as u64;
    stream.send_data(answer.body, true)?;
    Ok(bytes)
}

/// Whether the client has reset its stream by now: floods of resets arrive together with their requests,
/// and an endpoint need not hear of any.
async fn has_left(respond: &mut SendResponse<Bytes>) -> bool {
    poll_fn(|cx| Poll::Ready(respond.poll_reset(cx).is_ready())).await
}
