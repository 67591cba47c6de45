-- Living instances, beside the registry in the shared state: instances that name another shared state find each other
-- here. fingerprint: digests of the settings that must agree. An entry is nothing from expires_at on.
CREATE TABLE instance (
    id          TEXT    NOT NULL PRIMARY KEY,
    tenant_id   TEXT    NOT NULL,
    address     TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('ready', 'draining')),
    started_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
