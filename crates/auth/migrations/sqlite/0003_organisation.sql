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
ALTER TABLE account ADD COLUMN sessions_from INTEGER;

-- Second factors. The secret is sealed under the key encryption key, for its account alone. A row without confirmed_at
-- is an enrolment under way. last_step only grows, so that a code is good once.
CREATE TABLE totp (
    account_id    TEXT    NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    tenant_id     TEXT    NOT NULL,
    sealed_secret BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    confirmed_at  INTEGER,
    last_step     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_code (
    account_id TEXT    NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    hash       BLOB    NOT NULL,
    tenant_id  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    spent_at   INTEGER,
    PRIMARY KEY (account_id, hash)
) STRICT, WITHOUT ROWID;

-- When whoever uses a session last proved who they are; null: when it began.
ALTER TABLE refresh_family ADD COLUMN authenticated_at INTEGER;

-- Roles, permissions, clients, API keys and tiers. Every change of who may do what raises the version in its own
-- transaction: whoever remembers a permission set compares. A role that nobody defined grants nothing.
ALTER TABLE account ADD COLUMN tier TEXT NOT NULL DEFAULT 'free';

CREATE TABLE permission_version (
    tenant_id TEXT   NOT NULL PRIMARY KEY,
    version   INTEGER NOT NULL
) STRICT;
INSERT INTO permission_version (tenant_id, version) VALUES ('default', 1);

CREATE TABLE role (
    tenant_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT;

-- Read from the role's side for every permission set, and never from the other.
CREATE TABLE role_permission (
    tenant_id  TEXT NOT NULL,
    role       TEXT NOT NULL,
    permission TEXT NOT NULL,
    PRIMARY KEY (tenant_id, role, permission),
    FOREIGN KEY (tenant_id, role) REFERENCES role (tenant_id, name) ON DELETE CASCADE
) STRICT;

CREATE TABLE client (
    tenant_id  TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    status     TEXT   NOT NULL CHECK (status IN ('active', 'disabled')),
    tier       TEXT   NOT NULL DEFAULT 'free',
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT;

CREATE TABLE client_role (
    tenant_id TEXT NOT NULL,
    client    TEXT NOT NULL,
    role      TEXT NOT NULL,
    PRIMARY KEY (tenant_id, client, role),
    FOREIGN KEY (tenant_id, client) REFERENCES client (tenant_id, name) ON DELETE CASCADE
) STRICT;
CREATE INDEX client_role_by_role ON client_role (tenant_id, role);

-- hash is SHA-256 of the whole key, which is shown once and stored nowhere. permissions: names separated by commas,
-- of which the owner's own are what the key gives.
CREATE TABLE api_key (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant_id    TEXT   NOT NULL,
    hash         BLOB   NOT NULL UNIQUE,
    prefix       TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    account_id   TEXT   REFERENCES account (id) ON DELETE CASCADE,
    client       TEXT  ,
    permissions  TEXT   NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER,
    FOREIGN KEY (tenant_id, client) REFERENCES client (tenant_id, name) ON DELETE CASCADE,
    CHECK ((account_id IS NULL) <> (client IS NULL))
) STRICT;
CREATE INDEX api_key_by_account ON api_key (account_id, created_at);
CREATE INDEX api_key_by_client ON api_key (tenant_id, client, created_at);

-- Mail. When the owner showed that the address is theirs.
ALTER TABLE account ADD COLUMN email_verified_at INTEGER;

-- What is to be sent to owners, written in the transaction that causes it. Neither addresses nor tokens: who sends a mail
-- reads the address from the account and makes the token. A row without an account is sent to nobody. due_at is moved
-- ahead by whoever takes a mail to send it, so that another takes it when that instance has died.
CREATE TABLE mail (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant_id  TEXT    NOT NULL,
    account_id TEXT    REFERENCES account (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'given_up')),
    attempts   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    due_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX mail_by_due ON mail (due_at) WHERE state = 'waiting';
CREATE INDEX mail_by_account ON mail (account_id, created_at);
CREATE INDEX mail_by_age ON mail (created_at);

-- What a mail proves: one token of each kind of mail, the newest. hash is SHA-256 of it.
CREATE TABLE mail_token (
    account_id TEXT    NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL,
    tenant_id  TEXT    NOT NULL,
    hash       BLOB   NOT NULL UNIQUE,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, kind)
) STRICT;
CREATE INDEX mail_token_by_end ON mail_token (expires_at);
-- The chain of the audit log. seal is made with the line and covers it, who and where by a digest under blind; link and
-- position are given later, in the order of the chain. erasure stands where blind was, once a person has been erased.
ALTER TABLE audit ADD COLUMN blind BLOB;
ALTER TABLE audit ADD COLUMN seal BLOB;
ALTER TABLE audit ADD COLUMN position INTEGER;
ALTER TABLE audit ADD COLUMN link BLOB;
ALTER TABLE audit ADD COLUMN erasure BLOB;
CREATE INDEX audit_chain ON audit (tenant_id, position);
CREATE INDEX audit_unlinked ON audit (id) WHERE position IS NULL;
CREATE INDEX audit_by_account ON audit (account_id);
CREATE INDEX audit_by_actor ON audit (actor_id);

-- The last line of the chain, and the last one that retention removed.
CREATE TABLE audit_mark (
    tenant_id TEXT   NOT NULL,
    kind      TEXT   NOT NULL CHECK (kind IN ('head', 'cut')),
    position  INTEGER NOT NULL,
    link      BLOB NOT NULL,
    at        INTEGER NOT NULL,
    code      BLOB NOT NULL,
    PRIMARY KEY (tenant_id, kind)
) STRICT, WITHOUT ROWID;

-- Jobs that one instance at a time does: nobody's from until on.
CREATE TABLE lease (
    tenant_id TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    holder    TEXT   NOT NULL,
    until     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- Settings that all instances read while they run. A value that was taken back is NULL, under a newer version.
CREATE TABLE setting (
    tenant_id  TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    value      TEXT,
    version    INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    changed_by TEXT   NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

-- By what whoever uses a session last proved who they are; null: in a session that an earlier release began.
ALTER TABLE refresh_family ADD COLUMN proved_by TEXT;
