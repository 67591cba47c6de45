-- Accounts, refresh tokens, revocations, signing keys, set-up token, audit.
-- Instants are milliseconds since the Unix epoch. Every table that belongs to
-- a tenant says so from the beginning; there is one tenant so far.
CREATE TABLE account (
    id            TEXT    NOT NULL PRIMARY KEY,
    tenant_id     TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    created_at    INTEGER NOT NULL,
    UNIQUE (tenant_id, email)
) STRICT;

CREATE TABLE account_role (
    account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    role       TEXT NOT NULL,
    PRIMARY KEY (account_id, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX account_role_by_role ON account_role (role);

CREATE TABLE refresh_family (
    id                  TEXT    NOT NULL PRIMARY KEY,
    tenant_id           TEXT    NOT NULL,
    account_id          TEXT    NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    client_id           TEXT    NOT NULL,
    session_id          TEXT    NOT NULL,
    created_at          INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL,
    revoked_at          INTEGER
) STRICT;
CREATE INDEX refresh_family_by_account ON refresh_family (account_id);
CREATE INDEX refresh_family_by_session ON refresh_family (session_id);
CREATE INDEX refresh_family_by_end ON refresh_family (absolute_expires_at);

-- hash and successor are SHA-256 of tokens; successor_box opens only with the
-- spent token itself.
CREATE TABLE refresh_token (
    hash          BLOB    NOT NULL PRIMARY KEY,
    family_id     TEXT    NOT NULL REFERENCES refresh_family (id) ON DELETE CASCADE,
    issued_at     INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    spent_at      INTEGER,
    successor     BLOB,
    successor_box BLOB,
    CHECK ((spent_at IS NULL) = (successor IS NULL)),
    CHECK ((spent_at IS NULL) = (successor_box IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_token_by_family ON refresh_token (family_id);
CREATE INDEX refresh_token_by_end ON refresh_token (expires_at);

-- position grows with every change and is never used twice, so a follower can
-- resume from the last one it saw.
CREATE TABLE revocation (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id  TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('token', 'session', 'account', 'signing_key')),
    subject    TEXT    NOT NULL,
    not_before INTEGER NOT NULL,
    until      INTEGER NOT NULL,
    UNIQUE (tenant_id, kind, subject)
) STRICT;
CREATE INDEX revocation_by_end ON revocation (until);

CREATE TABLE signing_key (
    kid                TEXT    NOT NULL PRIMARY KEY,
    tenant_id          TEXT    NOT NULL,
    algorithm          TEXT    NOT NULL,
    state              TEXT    NOT NULL CHECK (state IN ('next', 'active', 'retiring', 'retired')),
    sealed_private_key BLOB    NOT NULL,
    created_at         INTEGER NOT NULL,
    changed_at         INTEGER NOT NULL
) STRICT;
-- Two instances that rotate at once cannot both win.
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (tenant_id, algorithm) WHERE state = 'active';

CREATE TABLE setup_token (
    tenant_id  TEXT    NOT NULL PRIMARY KEY,
    hash       BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    spent_at   INTEGER
) STRICT;

-- No reference to account: the log outlives what it is about.
CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id  TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    event      TEXT    NOT NULL,
    account_id TEXT,
    session_id TEXT,
    client     TEXT
) STRICT;
CREATE INDEX audit_by_time ON audit (tenant_id, at);
