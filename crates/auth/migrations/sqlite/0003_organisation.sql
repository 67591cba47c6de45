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
