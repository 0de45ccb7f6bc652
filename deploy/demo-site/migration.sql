-- A migration that no site survives without help: from the first ALTER to COMMIT it holds ACCESS EXCLUSIVE on
-- `articles`, which every page reads, so each reader of the primary waits, and each reader of a replica waits
-- (or is cancelled) as soon as the replica replays it.
--
-- The work below is real but 20,000 rows are soon rewritten, so that pg_sleep() stands in for the size of a
-- grown table: the locks are held for at least 10 seconds.
\set ON_ERROR_STOP 1
\timing on
SET lock_timeout = '20s';

BEGIN;

\echo '-- a NOT NULL column with backfill'
ALTER TABLE articles ADD COLUMN sku text;
UPDATE articles SET sku = 'SH-' || lpad(id::text, 6, '0') || '-' || upper(left(md5(title), 2));
ALTER TABLE articles ALTER COLUMN sku SET NOT NULL;

\echo '-- a change of type that rewrites the table and its indexes, and checks every foreign key again'
ALTER TABLE articles ALTER COLUMN id TYPE bigint;

\echo '-- the time that the same takes on a large table'
DO $$ BEGIN PERFORM pg_sleep(10); END $$;

\echo '-- an index'
CREATE UNIQUE INDEX articles_sku ON articles (sku);

\echo '-- a table that nobody needs any more'
DROP TABLE legacy_import;

INSERT INTO schema_migrations (name, xid) VALUES ('0002_sku', pg_current_xact_id());
COMMIT;
