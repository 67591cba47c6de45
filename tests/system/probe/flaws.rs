//! Deployments with one flaw each. Every one is caught, by the check for it and by no other.

use portcullis_testkit::{Deployment, Flaw};

use super::{EVERYTHING, Visit, visit, visit_while};

fn expect_caught_by_alone(visit: &Visit, flaw: Flaw, check: &str) {
    let document = visit.document();
    assert_eq!(
        visit.with_verdict("fail"),
        [check],
        "{flaw:?}: {document:#}"
    );
    assert_eq!(visit.code, 1, "{flaw:?}");
    for remark in visit.check(check)["remarks"].as_array().unwrap() {
        assert!(!remark["advice"].as_str().unwrap().is_empty(), "{flaw:?}");
    }
}

async fn expect_caught(check: &str, flaws: &[Flaw]) {
    for &flaw in flaws {
        let deployment = Deployment::start(Some(flaw)).await;
        expect_caught_by_alone(&visit(&deployment).await, flaw, check);
    }
}

async fn expect_caught_with_tls(check: &str, flaws: &[Flaw]) {
    for &flaw in flaws {
        let deployment = Deployment::start_with_tls(Some(flaw)).await;
        let visit = visit(&deployment).await;
        if check != "tls" || flaw == Flaw::OldTlsIsAccepted {
            expect_caught_by_alone(&visit, flaw, check);
            continue;
        }
        // No password goes out: what was asked for and needs one has failed, too.
        let document = visit.document();
        assert_eq!(
            visit.with_verdict("fail"),
            ["tls", "logout"],
            "{flaw:?}: {document:#}"
        );
        let logout = visit.check("logout")["summary"].clone();
        let reason = "asked for, but no password is sent where the certificate is bad";
        assert_eq!(logout, reason);
    }
}

#[tokio::test]
async fn bad_certificates_and_old_versions_are_caught_by_the_tls_check() {
    expect_caught_with_tls(
        "tls",
        &[
            Flaw::CertificateForAnotherName,
            Flaw::CertificateExpired,
            Flaw::CertificateOfAStranger,
            Flaw::OldTlsIsAccepted,
        ],
    )
    .await;
}

#[tokio::test]
async fn a_failing_health_path_is_caught_by_the_health_check() {
    expect_caught("health", &[Flaw::OneHealthPathFails]).await;
}

#[tokio::test]
async fn skewed_distributions_are_caught_by_the_distribution_check() {
    let flaws = [Flaw::OneInstanceIsPreferred, Flaw::OneInstanceGetsNothing];
    expect_caught("distribution", &flaws).await;
}

#[tokio::test]
async fn broken_affinity_is_caught_by_the_affinity_check() {
    expect_caught(
        "affinity",
        &[
            Flaw::CookieIsNotRead,
            Flaw::CookieNamesAnAddress,
            Flaw::CookieLacksHttpOnly,
            Flaw::CookieLacksSameSite,
            Flaw::ForgedCookieIsAnError,
            Flaw::ForgedCookieGetsNoNewOne,
        ],
    )
    .await;
    expect_caught_with_tls("affinity", &[Flaw::CookieLacksSecure]).await;
}

#[tokio::test]
async fn false_claims_that_reach_endpoints_are_caught_by_the_forwarding_check() {
    expect_caught(
        "forwarding",
        &[
            Flaw::ClaimedAddressIsBelieved,
            Flaw::ClaimedIdentityReachesEndpoints,
            Flaw::HopByHopFieldIsPassedOn,
            Flaw::SchemeIsNotTold,
        ],
    )
    .await;
}

#[tokio::test]
async fn answers_that_show_the_inside_are_caught_by_the_errors_check() {
    expect_caught(
        "errors",
        &[
            Flaw::AnswersCarryNoRequestId,
            Flaw::ErrorNamesAnEndpoint,
            Flaw::ErrorShowsATrace,
            Flaw::ClaimedInstanceIsRepeated,
            Flaw::HealthCauseReachesStrangers,
        ],
    )
    .await;
}

#[tokio::test]
async fn a_logout_that_does_not_reach_everybody_is_caught_by_the_logout_check() {
    let flaws = [
        Flaw::OneInstanceForgetsLogouts,
        Flaw::OneInstanceRefusesFreshTokens,
    ];
    expect_caught("logout", &flaws).await;
}

#[tokio::test]
async fn guessing_that_nobody_stops_is_caught_by_the_limits_check() {
    let flaws = [
        Flaw::GuessesAreNotCounted,
        Flaw::GuessesAreCountedByEachInstanceAlone,
    ];
    expect_caught("limits", &flaws).await;
}

#[tokio::test]
async fn an_instance_that_leaves_badly_is_caught_by_the_failover_checks() {
    for (flaw, check) in [
        (Flaw::RequestsFailWhenAnInstanceLeaves, "failover"),
        (
            Flaw::BoundClientsFailWhenTheirInstanceLeaves,
            "reassignment",
        ),
        (Flaw::BoundClientsMoveWithoutNewCookie, "reassignment"),
    ] {
        let deployment = Deployment::start(Some(flaw)).await;
        let (url, password) = (deployment.url(), Deployment::PASSWORD);
        let stop = || deployment.stop_an_instance();
        let visit = visit_while(&url, &EVERYTHING, password, "4", stop).await;
        expect_caught_by_alone(&visit, flaw, check);
    }
}
