//! Every operation of the public listener, on one screen. Never serves anything by itself.

/// One request that is served.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// As in the routes.
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    /// In one sentence.
    pub(super) summary: &'static str,
    pub(super) query: &'static [Field],
    /// Members of the JSON object that it takes.
    pub(super) body: &'static [Field],
    /// Statuses when it is done.
    pub(super) done: &'static [u16],
    /// Codes of its own refusals, beside those that follow from what it needs and takes.
    refusals: &'static [&'static str],
}

/// Whom an operation is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Everybody.
    Nothing,
    /// Holders of an access token or a session.
    Session,
    /// Holders of an access token or an API key.
    Credential,
    /// Holders of an access token, an API key or a session.
    Anything,
    /// Administrators.
    Administrator,
}

/// A member of a body or a query.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) is_required: bool,
    pub(super) meaning: &'static str,
}

/// What a member can be.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    Text,
    Secret,
    Texts,
    Rows,
    Number,
}

/// What may happen to any request.
const ALWAYS: &[&str] = &[
    "busy",
    "timeout",
    "store_unavailable",
    "shared_state_unavailable",
];
const OF_BODIES: &[&str] = &[
    "malformed_json",
    "invalid_body",
    "unsupported_media_type",
    "body_too_large",
    "body_timeout",
];
const OF_TOKENS: &[&str] = &["missing_token", "invalid_token"];
const OF_ADMINISTRATORS: &[&str] = &["forbidden", "csrf"];

impl Operation {
    /// The codes of all its refusals.
    pub(super) fn refusals(&self) -> impl Iterator<Item = &'static str> {
        let of_body = if self.body.is_empty() { &[] } else { OF_BODIES };
        let of_query = if self.query.is_empty() {
            &[][..]
        } else {
            &["invalid_query"]
        };
        let of_needs: [&[&str]; 2] = match self.needs {
            Needs::Nothing => [&[], &[]],
            Needs::Session => [OF_TOKENS, &["csrf"]],
            Needs::Credential | Needs::Anything => [OF_TOKENS, &[]],
            Needs::Administrator => [OF_TOKENS, OF_ADMINISTRATORS],
        };
        let [first, second] = of_needs;
        [ALWAYS, of_body, of_query, first, second, self.refusals]
            .into_iter()
            .flatten()
            .copied()
    }

    const fn taking(self, body: &'static [Field]) -> Self {
        Self { body, ..self }
    }

    const fn asking(self, query: &'static [Field]) -> Self {
        Self { query, ..self }
    }

    const fn done_as(self, done: &'static [u16]) -> Self {
        Self { done, ..self }
    }

    const fn refusing(self, refusals: &'static [&'static str]) -> Self {
        Self { refusals, ..self }
    }
}

const fn operation(
    method: &'static str,
    path: &'static str,
    needs: Needs,
    summary: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        needs,
        summary,
        query: &[],
        body: &[],
        done: &[200],
        refusals: &[],
    }
}

const fn needs(name: &'static str, takes: Takes, meaning: &'static str) -> Field {
    Field {
        name,
        takes,
        is_required: true,
        meaning,
    }
}

const fn may(name: &'static str, takes: Takes, meaning: &'static str) -> Field {
    Field {
        name,
        takes,
        is_required: false,
        meaning,
    }
}

const LIMIT: Field = may("limit", Takes::Rows, "How many; 50 by default.");
const CURSOR: Field = may(
    "cursor",
    Takes::Text,
    "`next` of the page before, for the same filters.",
);
const EMAIL: Field = needs("email", Takes::Text, "The address of the account.");
const NEW_KEY: &[Field] = &[
    needs("name", Takes::Text, "For people."),
    needs("permissions", Takes::Texts, "Of those that its owner has."),
    may("expires_in_seconds", Takes::Number, "Never, by default."),
];
const CODE: Field = needs(
    "code",
    Takes::Secret,
    "Of the authenticator, or a recovery code.",
);
const PASSWORD: Field = needs("password", Takes::Secret, "8 to 128 characters.");

/// In the order of the document.
#[rustfmt::skip]
pub(super) static OPERATIONS: &[Operation] = &[
    operation("POST", "/api/v1/auth/register", Needs::Nothing, "A new account; the answer is the same for an address that has one.").taking(&[EMAIL, PASSWORD]).done_as(&[202]).refusing(&["invalid_email", "invalid_password", "weak_password", "rate_limited"]),
    operation("POST", "/api/v1/auth/login", Needs::Nothing, "Begins a session: an access token, a refresh token, and a cookie for browsers; 202 asks for a second factor.").taking(&[EMAIL, PASSWORD]).done_as(&[200, 202]).refusing(&["invalid_email", "invalid_password", "invalid_credentials", "too_many_attempts", "rate_limited"]),
    operation("POST", "/api/v1/auth/login/second-factor", Needs::Nothing, "Goes on with a login by a code.").taking(&[needs("challenge", Takes::Secret, "From the login."), CODE]).refusing(&["invalid_challenge", "invalid_code", "rate_limited"]),
    operation("POST", "/api/v1/auth/reauthenticate", Needs::Session, "Proves again who holds the session: for changes that ask for it.").taking(&[PASSWORD, may("code", Takes::Secret, "Where the account has an authenticator.")]).done_as(&[204]).refusing(&["invalid_password", "invalid_credentials", "invalid_code", "code_required", "rate_limited"]),
    operation("POST", "/api/v1/auth/mfa/totp", Needs::Session, "A new authenticator, which counts from its first code on.").refusing(&["reauthentication_required", "factor_exists"]),
    operation("DELETE", "/api/v1/auth/mfa/totp", Needs::Session, "Takes authenticator and recovery codes away.").done_as(&[204]).refusing(&["reauthentication_required", "no_factor"]),
    operation("POST", "/api/v1/auth/mfa/totp/confirm", Needs::Session, "The authenticator's first code; the answer has the recovery codes.").taking(&[CODE]).refusing(&["reauthentication_required", "invalid_code", "factor_exists", "no_factor"]),
    operation("POST", "/api/v1/auth/mfa/recovery-codes", Needs::Session, "New recovery codes; those before are void.").refusing(&["reauthentication_required", "no_factor"]),
    operation("POST", "/api/v1/auth/refresh", Needs::Nothing, "Exchanges a refresh token for the next one and a fresh access token.").taking(&[needs("refresh_token", Takes::Secret, "Good once.")]).refusing(&["invalid_refresh_token", "rate_limited"]),
    operation("POST", "/api/v1/auth/logout", Needs::Session, "Ends the session, on every instance, before it answers.").done_as(&[204]),
    operation("POST", "/api/v1/auth/logout-all", Needs::Session, "Ends every session of the account.").done_as(&[204]),
    operation("GET", "/api/v1/auth/sessions", Needs::Session, "The sessions of the account, newest first.").asking(&[may("after", Takes::Text, "`next` of the page before."), LIMIT]),
    operation("DELETE", "/api/v1/auth/sessions/{id}", Needs::Session, "Ends one session of the account.").done_as(&[204]).refusing(&["no_such_session"]),
    operation("GET", "/api/v1/auth/mfa", Needs::Session, "Whether there is an authenticator, and how many recovery codes are left."),
    operation("POST", "/api/v1/auth/password/change", Needs::Session, "Another password; every session ends, and the answer begins a new one.").taking(&[needs("current_password", Takes::Secret, "The one so far."), needs("new_password", Takes::Secret, "8 to 128 characters.")]).refusing(&["wrong_password", "invalid_password", "weak_password", "reauthentication_required", "rate_limited"]),
    operation("POST", "/api/v1/auth/password/forgot", Needs::Nothing, "Mails a link to the owner, if there is one; the answer is the same.").taking(&[EMAIL]).done_as(&[202]).refusing(&["invalid_email", "rate_limited", "no_mail"]),
    operation("POST", "/api/v1/auth/password/reset", Needs::Nothing, "Another password, by the token of the mail; every session ends.").taking(&[needs("token", Takes::Secret, "Of the mail, good once."), needs("new_password", Takes::Secret, "8 to 128 characters.")]).done_as(&[204]).refusing(&["invalid_mail_token", "invalid_password", "weak_password", "rate_limited"]),
    operation("POST", "/api/v1/auth/email/verify", Needs::Nothing, "The address is the owner's, by the token of the mail.").taking(&[needs("token", Takes::Secret, "Of the mail, good once.")]).done_as(&[204]).refusing(&["invalid_mail_token", "rate_limited"]),
    operation("POST", "/api/v1/auth/email/resend", Needs::Nothing, "Mails another verification link, if there is whom to; the answer is the same.").taking(&[EMAIL]).done_as(&[202]).refusing(&["invalid_email", "rate_limited", "no_mail"]),
    operation("POST", "/api/v1/permissions/check", Needs::Credential, "Whether the caller, or a subject it may ask about, has a permission.").taking(&[needs("permission", Takes::Text, "resource:action."), may("subject", Takes::Text, "An account's id, or client: and a name.")]).refusing(&["invalid_permission", "invalid_subject", "forbidden", "rate_limited"]),
    operation("POST", "/api/v1/permissions/check/batch", Needs::Credential, "The same for up to 100 permissions.").taking(&[needs("permissions", Takes::Texts, "Each resource:action."), may("subject", Takes::Text, "An account's id, or client: and a name.")]).refusing(&["invalid_permission", "invalid_subject", "too_many", "forbidden", "rate_limited"]),
    operation("GET", "/api/v1/api-keys", Needs::Session, "The API keys of the account."),
    operation("POST", "/api/v1/api-keys", Needs::Session, "A new API key, shown once.").taking(NEW_KEY).done_as(&[201]).refusing(&["invalid_name", "invalid_permission", "invalid_expiry", "too_many", "beyond_owner", "reauthentication_required"]),
    operation("DELETE", "/api/v1/api-keys/{id}", Needs::Session, "Revokes an API key.").done_as(&[204]).refusing(&["no_such_thing"]),
    operation("GET", "/api/v1/admin/roles", Needs::Administrator, "Every role and what it grants."),
    operation("GET", "/api/v1/admin/roles/{name}", Needs::Administrator, "One role.").refusing(&["no_such_thing"]),
    operation("PUT", "/api/v1/admin/roles/{name}", Needs::Administrator, "What a role grants from now on.").taking(&[needs("permissions", Takes::Texts, "Each resource:action or resource:*.")]).refusing(&["invalid_role", "invalid_permission", "too_many"]),
    operation("DELETE", "/api/v1/admin/roles/{name}", Needs::Administrator, "Takes a role away that nobody holds.").done_as(&[204]).refusing(&["role_held", "no_such_thing"]),
    operation("GET", "/api/v1/admin/clients", Needs::Administrator, "Machine identities.").asking(&[may("after", Takes::Text, "The last one of the page before.")]),
    operation("PUT", "/api/v1/admin/clients/{name}", Needs::Administrator, "A client as it shall be.").taking(&[needs("roles", Takes::Texts, "Every role it shall have."), may("tier", Takes::Text, "Which limits it has."), may("status", Takes::Text, "active or disabled.")]).refusing(&["invalid_client", "invalid_role", "invalid_tier", "too_many"]),
    operation("DELETE", "/api/v1/admin/clients/{name}", Needs::Administrator, "Takes a client away, and its keys.").done_as(&[204]).refusing(&["no_such_thing"]),
    operation("GET", "/api/v1/admin/clients/{name}/api-keys", Needs::Administrator, "The API keys of a client.").refusing(&["no_such_thing"]),
    operation("POST", "/api/v1/admin/clients/{name}/api-keys", Needs::Administrator, "A new API key of a client, shown once.").taking(NEW_KEY).done_as(&[201]).refusing(&["invalid_name", "invalid_permission", "invalid_expiry", "too_many", "beyond_owner", "no_such_thing"]),
    operation("GET", "/api/v1/auth/verify", Needs::Anything, "Whether the token, the API key or the session may be believed right now, and whose it is.").refusing(&["too_many_attempts"]),
    operation("POST", "/api/v1/auth/setup", Needs::Nothing, "The first administrator, by the one-time set-up token.").taking(&[needs("setup_token", Takes::Secret, "As `portcullis auth migrate` printed it."), EMAIL, PASSWORD]).done_as(&[201]).refusing(&["invalid_setup_token", "invalid_email", "invalid_password", "weak_password", "email_taken", "rate_limited"]),
    operation("GET", "/api/v1/admin/users", Needs::Administrator, "Accounts that fit, in order of their addresses. Leaves a line in the audit log.").asking(&[may("search", Takes::Text, "A part of the address."), may("status", Takes::Text, "active or disabled."), may("role", Takes::Text, "The name of a role."), LIMIT, CURSOR]).refusing(&["invalid_cursor"]),
    operation("GET", "/api/v1/admin/users/{id}", Needs::Administrator, "One account, its factors and whether its address is verified. Leaves a line in the audit log.").refusing(&["no_such_account"]),
    operation("POST", "/api/v1/admin/users/{id}/disable", Needs::Administrator, "Shuts an account; its sessions end before it answers.").refusing(&["no_such_account", "own_account"]),
    operation("POST", "/api/v1/admin/users/{id}/enable", Needs::Administrator, "Opens an account again.").refusing(&["no_such_account"]),
    operation("PUT", "/api/v1/admin/users/{id}/roles", Needs::Administrator, "Replaces the roles; tokens with the old ones are void before it answers.").taking(&[needs("roles", Takes::Texts, "Every role it shall have.")]).refusing(&["no_such_account", "own_account", "invalid_role", "too_many"]),
    operation("PUT", "/api/v1/admin/users/{id}/tier", Needs::Administrator, "Puts an account into a tier; its tokens say so from the next login or refresh on.").taking(&[needs("tier", Takes::Text, "anonymous, free, pro, enterprise or internal.")]).refusing(&["no_such_account", "invalid_tier"]),
    operation("DELETE", "/api/v1/admin/users/{id}/mfa", Needs::Administrator, "Takes authenticator and recovery codes away from whoever lost them; the administrator has proved who they are in the last five minutes.").done_as(&[204]).refusing(&["no_such_account", "no_factor", "reauthentication_required"]),
    operation("GET", "/api/v1/admin/users/{id}/api-keys", Needs::Administrator, "The API keys of an account. Leaves a line in the audit log.").refusing(&["no_such_account"]),
    operation("GET", "/api/v1/admin/users/{id}/sessions", Needs::Administrator, "The sessions of an account, newest first.").asking(&[may("after", Takes::Text, "`next` of the page before."), LIMIT]).refusing(&["no_such_account"]),
    operation("DELETE", "/api/v1/admin/users/{id}/sessions", Needs::Administrator, "Ends every session of an account.").done_as(&[204]).refusing(&["no_such_account"]),
    operation("DELETE", "/api/v1/admin/users/{id}/sessions/{session}", Needs::Administrator, "Ends one session of an account.").done_as(&[204]).refusing(&["no_such_account", "no_such_session"]),
    operation("GET", "/api/v1/admin/audit", Needs::Administrator, "Lines of the audit log, newest first. Leaves a line in it.").asking(&[may("event", Takes::Text, "Such as login_failed."), may("outcome", Takes::Text, "done or refused."), may("account", Takes::Text, "The id of an account that it concerns or that asked."), may("request", Takes::Text, "The id of a request."), may("since", Takes::Text, "15m, 24h or 7d ago, or RFC 3339."), may("until", Takes::Text, "The same."), LIMIT, CURSOR]).refusing(&["invalid_cursor"]),
    operation("GET", "/api/v1/admin/settings", Needs::Administrator, "What may change while instances run, and where its value comes from."),
    operation("PUT", "/api/v1/admin/settings/{name}", Needs::Administrator, "Another value for all instances, within seconds.").taking(&[needs("value", Takes::Text, "As in the environment.")]).refusing(&["no_such_setting", "set_by_environment", "invalid_setting"]),
    operation("DELETE", "/api/v1/admin/settings/{name}", Needs::Administrator, "Its default again.").refusing(&["no_such_setting"]),
    operation("GET", "/api/v1/openapi.json", Needs::Nothing, "This document."),
    operation("GET", "/.well-known/jwks.json", Needs::Nothing, "The keys that tokens are signed with.").done_as(&[200, 304]),
    operation("GET", "/.well-known/openid-configuration", Needs::Nothing, "Where to find what, for verifiers."),
    operation("GET", "/health", Needs::Nothing, "Whether the process answers."),
    operation("GET", "/health/detailed", Needs::Nothing, "Every dependency; 503 when one is down."),
    operation("GET", "/health/ready", Needs::Nothing, "Whether traffic should come here; 503 if not."),
    operation("GET", "/health/live", Needs::Nothing, "Whether the process lives."),
    operation("GET", "/ready", Needs::Nothing, "The same as /health/ready."),
    operation("GET", "/alive", Needs::Nothing, "The same as /health/live."),
    operation("GET", "/api/v1/load-balancer/health", Needs::Nothing, "Everything a balancer may want to know; 503 if no traffic should come."),
    operation("GET", "/api/v1/load-balancer/instances", Needs::Administrator, "Who lives, and whose settings differ."),
    operation("GET", "/api/v1/load-balancer/metrics", Needs::Administrator, "The first figures as JSON."),
    operation("GET", "/api/v1/load-balancer/config", Needs::Administrator, "What this instance runs with, without secrets."),
    operation("POST", "/api/v1/load-balancer/health-check", Needs::Administrator, "Asks the dependencies now; 503 when one is down."),
    operation("GET", "/metrics", Needs::Nothing, "All metrics as Prometheus text, where there is no internal listener."),
];
