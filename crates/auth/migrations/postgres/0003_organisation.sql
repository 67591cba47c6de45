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
