//! The answer to one request, with the flaw in it. Never answers what a visitor does not ask.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::state::{INSTANCES, Picked, State};
use super::{Deployment, Flaw};

type Answer = Response<Full<Bytes>>;

pub(super) async fn to(request: Request<Incoming>, state: &State) -> Answer {
    let (head, body) = request.into_parts();
    let mut answer = if head.method == Method::TRACE {
        problem(405)
    } else if head.uri.to_string().len() > 8_000 {
        problem(414)
    } else {
        // A visitor that left is not answered.
        let body = body.collect().await.map(|all| all.to_bytes());
        balanced(&head, &body.unwrap_or_default(), state)
    };
    if !state.has(Flaw::AnswersCarryNoRequestId) {
        answer
            .headers_mut()
            .insert("x-request-id", text(&state.id()));
    }
    answer
}

fn balanced(head: &http::request::Parts, body: &[u8], state: &State) -> Answer {
    let (instance, cookie) = match state.pick(cookie(&head.headers)) {
        Picked::Bound(instance) => (instance, None),
        Picked::New(instance, cookie) => (instance, cookie),
        Picked::Fails(status) => return problem(status),
    };
    let mut answer = of_instance(head, body, instance, state);
    let headers = answer.headers_mut();
    let claimed = head.headers.get("x-instance-id");
    let name = match claimed.filter(|_| state.has(Flaw::ClaimedInstanceIsRepeated)) {
        Some(claimed) => claimed.clone(),
        None => HeaderValue::from_static(INSTANCES[instance]),
    };
    headers.insert("x-served-by", name);
    if state.has(Flaw::HealthCauseReachesStrangers) {
        headers.insert("x-health-cause", HeaderValue::from_static("database"));
    }
    if let Some(value) = cookie {
        headers.append(SET_COOKIE, text(&set_cookie(&value, state)));
    }
    answer
}

fn set_cookie(value: &str, state: &State) -> String {
    let attributes = [
        ("Path=/", true),
        ("HttpOnly", !state.has(Flaw::CookieLacksHttpOnly)),
        ("SameSite=Lax", !state.has(Flaw::CookieLacksSameSite)),
        (
            "Secure",
            state.is_https && !state.has(Flaw::CookieLacksSecure),
        ),
    ];
    let present = attributes.iter().filter(|(_, is_present)| *is_present);
    present.fold(
        format!("_portcullis_affinity={value}"),
        |cookie, (attribute, _)| format!("{cookie}; {attribute}"),
    )
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let field = headers.get(COOKIE)?.to_str().ok()?;
    field.strip_prefix("_portcullis_affinity=")
}

fn of_instance(head: &http::request::Parts, body: &[u8], instance: usize, state: &State) -> Answer {
    match head.uri.path() {
        "/ready" if state.has(Flaw::OneHealthPathFails) => problem(503),
        "/" | "/health" | "/ready" | "/alive" => json_answer(200, &json!({ "ok": true })),
        Deployment::ECHO_PATH => {
            let headers: Vec<Value> = forwarded(&head.headers, state)
                .into_iter()
                .map(|(name, value)| json!([name, value]))
                .collect();
            json_answer(200, &json!({ "headers": headers }))
        }
        "/api/v1/auth/login" => log_in(body, instance, state),
        "/api/v1/auth/verify" => match bearer(&head.headers) {
            Some(token) if state.is_good(token, instance) => {
                json_answer(200, &json!({ "active": true }))
            }
            _ => problem(401),
        },
        "/api/v1/auth/logout" => match bearer(&head.headers) {
            Some(token) => {
                state.log_out(token);
                json_answer(200, &json!({}))
            }
            None => problem(401),
        },
        _ if state.has(Flaw::ErrorNamesAnEndpoint) => {
            json_answer(404, &json!({ "detail": "10.0.0.7:4001 has no such page" }))
        }
        _ if state.has(Flaw::ErrorShowsATrace) => json_answer(
            404,
            &json!({ "detail": "thread 'main' panicked at src/main.rs" }),
        ),
        _ => problem(404),
    }
}

fn log_in(body: &[u8], instance: usize, state: &State) -> Answer {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    if body["email"] == Deployment::EMAIL && body["password"] == Deployment::PASSWORD {
        return json_answer(200, &json!({ "access_token": state.log_in() }));
    }
    if !state.guess(instance) {
        return problem(401);
    }
    let mut refused = problem(429);
    let seconds = HeaderValue::from_static("60");
    refused.headers_mut().insert(RETRY_AFTER, seconds);
    refused
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let field = headers.get("authorization")?.to_str().ok()?;
    field.strip_prefix("Bearer ")
}

/// What the balancer makes of a request's fields.
fn forwarded(headers: &HeaderMap, state: &State) -> Vec<(String, String)> {
    let hop = "x-portcullis-probe-hop";
    let mut fields: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .filter(|(name, _)| {
            let plain = name.replace('_', "-");
            let is_identity = plain.starts_with("x-auth-");
            let is_claim = ["x-forwarded-", "x-real-ip", "x-instance-id", "x-served-by"]
                .iter()
                .any(|prefix| plain.starts_with(prefix));
            let is_for_one_hop = ["connection", "keep-alive", "proxy", "forwarded"];
            (!is_identity || state.has(Flaw::ClaimedIdentityReachesEndpoints))
                && (name != hop || state.has(Flaw::HopByHopFieldIsPassedOn))
                && !is_claim
                && !is_for_one_hop.contains(&plain.as_str())
        })
        .collect();
    let claimed = headers.get("x-forwarded-for");
    let client = match claimed.filter(|_| state.has(Flaw::ClaimedAddressIsBelieved)) {
        Some(claimed) => format!("{}, 127.0.0.1", claimed.to_str().unwrap_or_default()),
        None => "127.0.0.1".to_owned(),
    };
    let host = fields.iter().find(|(name, _)| name == "host");
    let host = host.map(|(_, host)| host.clone()).unwrap_or_default();
    let scheme = if state.is_https { "https" } else { "http" };
    let mut add = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    add("x-forwarded-for", &client);
    add("x-forwarded-host", &host);
    add("x-request-id", "1");
    if !state.has(Flaw::SchemeIsNotTold) {
        add("x-forwarded-proto", scheme);
    }
    fields
}

fn problem(status: u16) -> Answer {
    let mut answer = json_answer(status, &json!({ "status": status }));
    let kind = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn json_answer(status: u16, body: &Value) -> Answer {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("status and fields are valid")
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("made of visible characters")
}
