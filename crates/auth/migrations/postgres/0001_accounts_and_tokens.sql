-- Accounts, refresh tokens, revocations, signing keys, set-up token, audit.
-- Instants are milliseconds since the Unix epoch. Every table that belongs to
-- a tenant says so from the beginning; there is one tenant so far. The embedded
-- database has the same tables, so that one set of statements serves both.
-- Addresses are ordered by their bytes: what a server's locale would do with them
-- could change with an upgrade of the machine, under the index.
CREATE TABLE account (
    id            TEXT    NOT NULL PRIMARY KEY,
    tenant_id     TEXT    NOT NULL,
    email         TEXT    COLLATE "C" NOT NULL,
    password_hash TEXT    NOT NULL,
    status        TEXT    NOT NULL CHECK (status IN ('active', 'disabled')),
    created_at    BIGINT  NOT NULL,
    UNIQUE (tenant_id, email)
);

CREATE TABLE account_role (
    account_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    role       TEXT NOT NULL,
    PRIMARY KEY (account_id, role)
);
CREATE INDEX account_role_by_role ON account_role (role);

CREATE TABLE refresh_family (
    id                  TEXT    NOT NULL PRIMARY KEY,
    tenant_id           TEXT    NOT NULL,
    account_id          TEXT    NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    client_id           TEXT    NOT NULL,
    session_id          TEXT    NOT NULL,
    created_at          BIGINT  NOT NULL,
    absolute_expires_at BIGINT  NOT NULL,
    revoked_at          BIGINT
);
CREATE INDEX refresh_family_by_account ON refresh_family (account_id);
CREATE INDEX refresh_family_by_session ON refresh_family (session_id);
CREATE INDEX refresh_family_by_end ON refresh_family (absolute_expires_at);

-- hash and successor are SHA-256 of tokens; successor_box opens only with the
-- spent token itself.
CREATE TABLE refresh_token (
    hash          BYTEA   NOT NULL PRIMARY KEY,
    family_id     TEXT    NOT NULL REFERENCES refresh_family (id) ON DELETE CASCADE,
    issued_at     BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    spent_at      BIGINT,
    successor     BYTEA,
    successor_box BYTEA,
    CHECK ((spent_at IS NULL) = (successor IS NULL)),
    CHECK ((spent_at IS NULL) = (successor_box IS NULL))
);
CREATE INDEX refresh_token_by_family ON refresh_token (family_id);
CREATE INDEX refresh_token_by_end ON refresh_token (expires_at);

-- position grows with every change and is never used twice, so a follower can
-- resume from the last one it saw.
CREATE TABLE revocation (
    position   BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('token', 'session', 'account', 'signing_key')),
    subject    TEXT    NOT NULL,
    not_before BIGINT  NOT NULL,
    until      BIGINT  NOT NULL,
    UNIQUE (tenant_id, kind, subject)
);
CREATE INDEX revocation_by_end ON revocation (until);

CREATE TABLE signing_key (
    kid                TEXT    NOT NULL PRIMARY KEY,
    tenant_id          TEXT    NOT NULL,
    algorithm          TEXT    NOT NULL,
    state              TEXT    NOT NULL CHECK (state IN ('next', 'active', 'retiring', 'retired')),
    sealed_private_key BYTEA   NOT NULL,
    created_at         BIGINT  NOT NULL,
    changed_at         BIGINT  NOT NULL
);
-- Two instances that rotate at once cannot both win.
CREATE UNIQUE INDEX signing_key_one_active ON signing_key (tenant_id, algorithm) WHERE state = 'active';

CREATE TABLE setup_token (
    tenant_id  TEXT    NOT NULL PRIMARY KEY,
    hash       BYTEA   NOT NULL,
    created_at BIGINT  NOT NULL,
    expires_at BIGINT  NOT NULL,
    spent_at   BIGINT
);

-- No reference to account: the log outlives what it is about.
CREATE TABLE audit (
    id         BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  TEXT    NOT NULL,
    at         BIGINT  NOT NULL,
    event      TEXT    NOT NULL,
    account_id TEXT,
    session_id TEXT,
    client     TEXT
);
CREATE INDEX audit_by_time ON audit (tenant_id, at);
