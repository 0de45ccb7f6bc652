-- The role that Lull itself logs in with (`control` of a cluster), with the least rights that it needs.
-- Run once on the primary, in the database that `control.database` names (replicas get it by replication):
--   psql -d postgres -v password=SECRET -f deploy/control-role.sql
CREATE ROLE lull LOGIN PASSWORD :'password';
-- Who still writes, for whom, since when (pg_stat_activity of everybody), and how far replicas are.
GRANT pg_monitor TO lull;
-- Sealing is proved with an LSN that is flushed, which takes a record of one's own in the write-ahead log. Everybody may do
-- this by default; the grant is for servers where PUBLIC has lost it.
SELECT format('GRANT EXECUTE ON FUNCTION %s TO lull', oid::regprocedure) FROM pg_proc
  WHERE proname = 'pg_logical_emit_message' AND pronamespace = 'pg_catalog'::regnamespace \gexec
-- Optional: to end a backend whose connection to Lull broke in the middle of a write, and which sealing waits for. Without it such
-- a one is waited for and named, and has to be ended by hand where it does not end by itself.
-- GRANT pg_signal_backend TO lull;
-- Freezing a replica for the length of a window.
GRANT EXECUTE ON FUNCTION pg_wal_replay_pause(), pg_wal_replay_resume() TO lull;
