-- What an organisation needs beside accounts and tokens. Only additions, which the previous release passes over.

-- The audit record: who asked, what became of it, what else it concerns, which request it was. Lines of earlier
-- releases say none of it.
ALTER TABLE audit ADD COLUMN outcome TEXT;
ALTER TABLE audit ADD COLUMN actor_kind TEXT;
ALTER TABLE audit ADD COLUMN actor_id TEXT;
ALTER TABLE audit ADD COLUMN object TEXT;
ALTER TABLE audit ADD COLUMN request_id TEXT;

-- Sessions as their owner sees them. began_from: the network of the login, never a whole address.
ALTER TABLE refresh_family ADD COLUMN began_from TEXT;
-- A login that began before this instant begins no session: everything was ended, or the password changed, meanwhile.
ALTER TABLE account ADD COLUMN sessions_from BIGINT;

-- Second factors. The secret is sealed under the key encryption key, for its account alone. A row without confirmed_at
-- is an enrolment under way. last_step only grows, so that a code is good once.
CREATE TABLE totp (
    account_id    TEXT   NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    tenant_id     TEXT   NOT NULL,
    sealed_secret BYTEA  NOT NULL,
    created_at    BIGINT NOT NULL,
    confirmed_at  BIGINT,
    last_step     BIGINT NOT NULL
);

CREATE TABLE recovery_code (
    account_id TEXT   NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    hash       BYTEA  NOT NULL,
    tenant_id  TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    spent_at   BIGINT,
    PRIMARY KEY (account_id, hash)
);

-- When whoever uses a session last proved who they are; null: when it began.
ALTER TABLE refresh_family ADD COLUMN authenticated_at BIGINT;

-- Roles, permissions, clients, API keys and tiers. Every change of who may do what raises the version in its own
-- transaction: whoever remembers a permission set compares. A role that nobody defined grants nothing.
ALTER TABLE account ADD COLUMN tier TEXT NOT NULL DEFAULT 'free';

CREATE TABLE permission_version (
    tenant_id TEXT   NOT NULL PRIMARY KEY,
    version   BIGINT NOT NULL
);
INSERT INTO permission_version (tenant_id, version) VALUES ('default', 1);

CREATE TABLE role (
    tenant_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- Read from the role's side for every permission set, and never from the other.
CREATE TABLE role_permission (
    tenant_id  TEXT NOT NULL,
    role       TEXT NOT NULL,
    permission TEXT NOT NULL,
    PRIMARY KEY (tenant_id, role, permission),
    FOREIGN KEY (tenant_id, role) REFERENCES role (tenant_id, name) ON DELETE CASCADE
);

CREATE TABLE client (
    tenant_id  TEXT   NOT NULL,
    name       TEXT   COLLATE "C" NOT NULL,
    status     TEXT   NOT NULL CHECK (status IN ('active', 'disabled')),
    tier       TEXT   NOT NULL DEFAULT 'free',
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE client_role (
    tenant_id TEXT NOT NULL,
    client    TEXT COLLATE "C" NOT NULL,
    role      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, client, role),
    FOREIGN KEY (tenant_id, client) REFERENCES client (tenant_id, name) ON DELETE CASCADE
);
CREATE INDEX client_role_by_role ON client_role (tenant_id, role);

-- hash is SHA-256 of the whole key, which is shown once and stored nowhere. permissions: names separated by commas,
-- of which the owner's own are what the key gives.
CREATE TABLE api_key (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant_id    TEXT   NOT NULL,
    hash         BYTEA  NOT NULL UNIQUE,
    prefix       TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    account_id   TEXT   REFERENCES account (id) ON DELETE CASCADE,
    client       TEXT   COLLATE "C",
    permissions  TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT,
    FOREIGN KEY (tenant_id, client) REFERENCES client (tenant_id, name) ON DELETE CASCADE,
    CHECK ((account_id IS NULL) <> (client IS NULL))
);
CREATE INDEX api_key_by_account ON api_key (account_id, created_at);
CREATE INDEX api_key_by_client ON api_key (tenant_id, client, created_at);

-- Mail. When the owner showed that the address is theirs.
ALTER TABLE account ADD COLUMN email_verified_at BIGINT;

-- What is to be sent to owners, written in the transaction that causes it. Neither addresses nor tokens: who sends a mail
-- reads the address from the account and makes the token. A row without an account is sent to nobody. due_at is moved
-- ahead by whoever takes a mail to send it, so that another takes it when that instance has died.
CREATE TABLE mail (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant_id  TEXT    NOT NULL,
    account_id TEXT    REFERENCES account (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'given_up')),
    attempts   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at     BIGINT NOT NULL
);
CREATE INDEX mail_by_due ON mail (due_at) WHERE state = 'waiting';
CREATE INDEX mail_by_account ON mail (account_id, created_at);
CREATE INDEX mail_by_age ON mail (created_at);

-- What a mail proves: one token of each kind of mail, the newest. hash is SHA-256 of it.
CREATE TABLE mail_token (
    account_id TEXT    NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL,
    tenant_id  TEXT    NOT NULL,
    hash       BYTEA   NOT NULL UNIQUE,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, kind)
);
CREATE INDEX mail_token_by_end ON mail_token (expires_at);
-- The chain of the audit log. seal is made with the line and covers it, who and where by a digest under blind; link and
-- position are given later, in the order of the chain. erasure stands where blind was, once a person has been erased.
ALTER TABLE audit ADD COLUMN blind BYTEA;
ALTER TABLE audit ADD COLUMN seal BYTEA;
ALTER TABLE audit ADD COLUMN position BIGINT;
ALTER TABLE audit ADD COLUMN link BYTEA;
ALTER TABLE audit ADD COLUMN erasure BYTEA;
CREATE INDEX audit_chain ON audit (tenant_id, position);
CREATE INDEX audit_unlinked ON audit (id) WHERE position IS NULL;
CREATE INDEX audit_by_account ON audit (account_id);
CREATE INDEX audit_by_actor ON audit (actor_id);

-- The last line of the chain, and the last one that retention removed.
CREATE TABLE audit_mark (
    tenant_id TEXT   NOT NULL,
    kind      TEXT   NOT NULL CHECK (kind IN ('head', 'cut')),
    position  BIGINT NOT NULL,
    link      BYTEA NOT NULL,
    at        BIGINT NOT NULL,
    code      BYTEA NOT NULL,
    PRIMARY KEY (tenant_id, kind)
);

-- Jobs that one instance at a time does: nobody's from until on.
CREATE TABLE lease (
    tenant_id TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    holder    TEXT   NOT NULL,
    until     BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- Settings that all instances read while they run. A value that was taken back is NULL, under a newer version.
CREATE TABLE setting (
    tenant_id  TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    value      TEXT,
    version    BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    changed_by TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- By what whoever uses a session last proved who they are; null: in a session that an earlier release began.
ALTER TABLE refresh_family ADD COLUMN proved_by TEXT;
