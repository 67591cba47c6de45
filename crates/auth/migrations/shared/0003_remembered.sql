-- Up to where accounts have written into a database with replicas: one that
-- lags answers them only when it has that.
CREATE TABLE written (
    account  TEXT    NOT NULL PRIMARY KEY,
    timeline INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ends_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX written_by_end ON written (ends_at);
