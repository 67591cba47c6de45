//! From pingora's errors to our causes. Never looks at policy.

use pingora::prelude::{Error, ErrorSource, ErrorType};

use super::patient::NotDialled;
use crate::outcome::Cause;

/// Why no connection to the endpoint came about.
pub(super) fn of_connect(error: &Error) -> Cause {
    if let Some(NotDialled(cause)) = error.root_cause().downcast_ref() {
        return *cause;
    }
    match error.etype() {
        ErrorType::ConnectRefused => Cause::ConnectRefused,
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Cause::ConnectTimeout,
        _ => Cause::ConnectFailed,
    }
}

/// Why an exchange broke off once there was a connection. `has_response_head`: whether the client
/// already has the endpoint's status.
pub(super) fn of_exchange(error: &Error, has_response_head: bool) -> Cause {
    match error.esource() {
        ErrorSource::Downstream => of_client(error.etype()),
        ErrorSource::Upstream => of_endpoint(error.etype(), has_response_head),
        ErrorSource::Internal | ErrorSource::Unset => Cause::Internal,
    }
}

fn of_client(kind: &ErrorType) -> Cause {
    match kind {
        ErrorType::ReadTimedout => Cause::BodyTimeout,
        ErrorType::InvalidHTTPHeader => Cause::HeadMalformed,
        // "Sent data after end of body" comes as ConnectError: pipelining, which this engine
        // cannot serve.
        ErrorType::ConnectError => Cause::BodyMalformed,
        ErrorType::Custom(_) | ErrorType::CustomCode(..) => Cause::BodyMalformed,
        _ => Cause::ClientGone,
    }
}

fn of_endpoint(kind: &ErrorType, has_response_head: bool) -> Cause {
    match kind {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Cause::EndpointTimeout,
        _ if has_response_head => Cause::EndpointTruncated,
        ErrorType::InvalidHTTPHeader | ErrorType::Custom(_) => Cause::EndpointMalformed,
        _ => Cause::EndpointReset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorType, source: ErrorSource) -> Box<Error> {
        let mut error = Error::explain(kind, "test");
        error.esource = source;
        error
    }

    #[test]
    fn connect_errors_keep_their_kind() {
        let cause = |kind| of_connect(&error(kind, ErrorSource::Upstream));
        assert_eq!(cause(ErrorType::ConnectRefused), Cause::ConnectRefused);
        assert_eq!(cause(ErrorType::ConnectTimedout), Cause::ConnectTimeout);
        assert_eq!(cause(ErrorType::ConnectNoRoute), Cause::ConnectFailed);
    }

    #[test]
    fn a_reset_before_and_after_the_head_are_different_things() {
        let error = error(ErrorType::ConnectionClosed, ErrorSource::Upstream);
        assert_eq!(of_exchange(&error, false), Cause::EndpointReset);
        assert_eq!(of_exchange(&error, true), Cause::EndpointTruncated);
    }

    #[test]
    fn the_client_is_blamed_for_its_own_side_only() {
        let gone = error(ErrorType::ConnectionClosed, ErrorSource::Downstream);
        assert_eq!(of_exchange(&gone, false), Cause::ClientGone);
        let slow = error(ErrorType::ReadTimedout, ErrorSource::Downstream);
        assert_eq!(of_exchange(&slow, false), Cause::BodyTimeout);
        let slow_endpoint = error(ErrorType::ReadTimedout, ErrorSource::Upstream);
        assert_eq!(of_exchange(&slow_endpoint, false), Cause::EndpointTimeout);
    }
}
