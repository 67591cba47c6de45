-- Requests that somebody may still make: when an allowance is full again, in
-- microseconds since the Unix epoch. One that is not here is full.
CREATE TABLE allowance (
    key     BLOB    NOT NULL PRIMARY KEY,
    full_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX allowance_by_end ON allowance (full_at);
