//! Header names that edge and auth agree on. Never sent by a client: the edge removes them from what clients send.

/// Who the request is from: the `sub` of the verified access token.
pub const X_AUTH_SUBJECT: &str = "x-auth-subject";
/// The roles of the verified access token, separated by commas.
pub const X_AUTH_ROLES: &str = "x-auth-roles";
/// The `sid` of the verified access token.
pub const X_AUTH_SESSION: &str = "x-auth-session";
/// The `client_id` of the verified access token.
pub const X_AUTH_CLIENT: &str = "x-auth-client";
/// The `scope` of the verified access token.
pub const X_AUTH_SCOPE: &str = "x-auth-scope";

/// Everything an application may believe because the edge wrote it. The edge strips all of these
/// from what clients send, whether or not it will write them itself.
pub const IDENTITY: [&str; 5] = [
    X_AUTH_SUBJECT,
    X_AUTH_ROLES,
    X_AUTH_SESSION,
    X_AUTH_CLIENT,
    X_AUTH_SCOPE,
];

/// Set by auth: which instance answered.
pub const X_INSTANCE_ID: &str = "x-instance-id";
/// Set by the edge: which endpoint answered.
pub const X_SERVED_BY: &str = "x-served-by";

/// Set by auth on a failing health answer: why it fails, one of the values below. The edge acts on
/// it and removes it from what clients see.
pub const HEALTH_CAUSE: &str = "x-health-cause";
/// The instance is about to leave: take it out now, finish what it has.
pub const HEALTH_CAUSE_DRAINING: &str = "draining";
/// The database does not answer.
pub const HEALTH_CAUSE_DATABASE: &str = "database";
/// The shared state does not answer.
pub const HEALTH_CAUSE_SHARED_STATE: &str = "shared_state";
