-- Up to where accounts have written into a database with replicas: one that
-- lags answers them only when it has that.
CREATE TABLE written (
    account  TEXT    NOT NULL PRIMARY KEY,
    timeline INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ends_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX written_by_end ON written (ends_at);

-- What the database knows and somebody asked for a moment ago, such as permission sets. Losing it costs a question.
CREATE TABLE remembered (
    key   TEXT    NOT NULL PRIMARY KEY,
    value TEXT    NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX remembered_by_end ON remembered (until);
