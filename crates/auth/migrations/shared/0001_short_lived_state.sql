-- Revocations, counters and the instance registry of the embedded mode.
-- Everything has an end; losing the file costs a rebuild and nothing else.

-- key: 'j:' jti, 's:' sid, 'u:' sub or 'k:' kid. Covers tokens issued before
-- not_before, which is the end of time unless the key is a sub. position grows
-- with every change and is never used twice: instances follow it.
CREATE TABLE revoked (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT    NOT NULL UNIQUE,
    not_before INTEGER NOT NULL,
    until      INTEGER NOT NULL
) STRICT;
CREATE INDEX revoked_by_end ON revoked (until);

CREATE TABLE counter (
    key       BLOB    NOT NULL PRIMARY KEY,
    count     INTEGER NOT NULL,
    resets_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX counter_by_end ON counter (resets_at);

CREATE TABLE instance (
    id          TEXT    NOT NULL PRIMARY KEY,
    address     TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('ready', 'draining')),
    started_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
