//! Attacks with frames of HTTP/2.

use portcullis_testkit::attack;

use super::Ends::{Goaways, Requests};
use super::{ends, harms_nobody_else, holds};

#[tokio::test]
async fn alone_rapid_resets_harm_nobody_else() {
    harms_nobody_else(attack::rapid_resets(), ends(Goaways("resets"), 5.0)).await;
}

#[tokio::test]
async fn alone_provoked_resets_harm_nobody_else() {
    let bounds = ends(Goaways("stream_errors"), 5.0);
    harms_nobody_else(attack::provoked_resets(), bounds).await;
}

#[tokio::test]
async fn alone_pings_harm_nobody_else() {
    harms_nobody_else(attack::pings(), ends(Goaways("pings"), 5.0)).await;
}

#[tokio::test]
async fn alone_floods_of_settings_harm_nobody_else() {
    let bounds = ends(Goaways("settings"), 5.0);
    harms_nobody_else(attack::floods_of_settings(), bounds).await;
}

#[tokio::test]
async fn alone_priorities_harm_nobody_else() {
    let bounds = ends(Goaways("idle_frames"), 5.0);
    harms_nobody_else(attack::priorities(), bounds).await;
}

#[tokio::test]
async fn alone_continuations_harm_nobody_else() {
    let bounds = ends(Goaways("continuations"), 5.0);
    harms_nobody_else(attack::continuations(), bounds).await;
}

#[tokio::test]
async fn alone_empty_data_harms_nobody_else() {
    let bounds = ends(Goaways("codec"), 5.0);
    harms_nobody_else(attack::empty_data(), bounds).await;
}

#[tokio::test]
async fn alone_header_bombs_harm_nobody_else() {
    let bounds = ends(Requests("client_malformed"), 5.0);
    harms_nobody_else(attack::header_bombs(), bounds).await;
}

#[tokio::test]
async fn alone_cookie_crumbs_harm_nobody_else() {
    let bounds = ends(Requests("client_head_too_large"), 5.0);
    harms_nobody_else(attack::cookie_crumbs(), bounds).await;
}

#[tokio::test]
async fn alone_closed_windows_harm_nobody_else() {
    let bounds = holds(Requests("client_gone"), 20.0);
    harms_nobody_else(attack::closed_windows(), bounds).await;
}

#[tokio::test]
async fn alone_dribbled_windows_harm_nobody_else() {
    let bounds = holds(Requests("client_gone"), 20.0);
    harms_nobody_else(attack::dribbled_windows(), bounds).await;
}

#[tokio::test]
async fn alone_half_open_streams_harm_nobody_else() {
    let bounds = holds(Requests("client_body_timeout"), 20.0);
    harms_nobody_else(attack::half_open_streams(), bounds).await;
}

#[tokio::test]
async fn alone_many_streams_harm_nobody_else() {
    let bounds = holds(Requests("client_gone"), 20.0);
    harms_nobody_else(attack::many_streams(), bounds).await;
}
