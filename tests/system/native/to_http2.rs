//! What only the native engine carries from HTTP/1.1 to endpoints that speak HTTP/2: pingora drops
//! trailers of HTTP/1.1 and refuses targets that are to be encoded.

use portcullis_testkit::h2_endpoint::{H2Behavior, H2Endpoint};
use serde_json::json;

use crate::native::Setup;

#[tokio::test]
async fn targets_are_encoded_where_http2_wants_it() {
    let a = H2Endpoint::start(H2Behavior::Echo).await;
    let edge = Setup::for_h2c(a.address()).start().await;
    let mut client = edge.connect().await;
    let request = b"GET /<a>?q=\"<x>\"`{|} HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(request).await.unwrap();
    let answer = client.response().await.unwrap();
    assert_eq!(answer.json()["path"], "/%3Ca%3E?q=%22%3Cx%3E%22%60{|}");
}

#[tokio::test]
async fn trailers_of_requests_over_http1_arrive() {
    let a = H2Endpoint::start(H2Behavior::Echo).await;
    let edge = Setup::for_h2c(a.address()).start().await;
    let mut client = edge.connect().await;
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n";
    client.send(request).await.unwrap();
    let answer = client.response_to("POST").await.unwrap();
    let echo = answer.json();
    assert_eq!(echo["body"], "hi");
    assert_eq!(echo["trailers"], json!([["x-sum", "7"]]));
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}
