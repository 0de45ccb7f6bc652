"""Ways around read-only, by name: statements that change something where a session is only asked nicely to be read-only.

CLIENT is for any role that owns tables; PRIVILEGED needs a superuser's rights; HIDDEN goes through code that a superuser or
the owner left in the database. $name in a script is a value of `values()`.
"""
import os
import string

WRITE = "UPDATE items SET n = n + 1 WHERE id = 1"
INSERT = "INSERT INTO log (who) VALUES ('escaped')"

# Made by a superuser before the site is sealed. The loopback servers are what dblink and foreign tables would use.
EXTRA = """
CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public;
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
CREATE EXTENSION IF NOT EXISTS file_fdw;
CREATE EXTENSION IF NOT EXISTS adminpack;
CREATE EXTENSION IF NOT EXISTS tablefunc SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE EXTENSION IF NOT EXISTS xml2 SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_surgery SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA public;
DROP SERVER IF EXISTS loop CASCADE;
CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '$port', dbname 'shop');
CREATE USER MAPPING FOR app SERVER loop OPTIONS (user 'app', password '$app_password');
CREATE USER MAPPING FOR postgres SERVER loop OPTIONS (user 'app', password '$app_password');
GRANT USAGE ON FOREIGN SERVER loop TO app;
DROP SERVER IF EXISTS files CASCADE;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FUNCTION public.privileged_file() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$$$BEGIN COPY (SELECT 1) TO '$folder/secdef'; RETURN 1; END$$$$;
CREATE FUNCTION public.privileged_file_in_disguise() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
  $$$$BEGIN EXECUTE 'CO' || 'PY (SELECT 1) TO ''$folder/disguise'''; RETURN 1; END$$$$;
CREATE FUNCTION public.privileged_slot() RETURNS text LANGUAGE sql SECURITY DEFINER AS
  $$$$SELECT slot_name::text FROM pg_create_physical_replication_slot('escaped')$$$$;
CREATE FUNCTION public.kill_row(regclass, tid[]) RETURNS void LANGUAGE c STRICT AS '$$libdir/pg_surgery', 'heap_force_kill';
GRANT EXECUTE ON FUNCTION public.privileged_file(), public.privileged_file_in_disguise(), public.privileged_slot(),
  public.kill_row(regclass, tid[]) TO PUBLIC;
CREATE FOREIGN TABLE public.program_output (line text) SERVER files OPTIONS (program 'touch $folder/program');
GRANT SELECT ON public.program_output TO PUBLIC;
SET ROLE app;
CREATE FUNCTION other_schema.lower(unknown_text text) RETURNS text LANGUAGE plpgsql AS
  $$$$BEGIN RESET transaction_read_only; UPDATE public.items SET n = n + 1 WHERE id = 1; RETURN 'x'; END$$$$;
CREATE FUNCTION other_schema.plus(int, int) RETURNS int LANGUAGE plpgsql AS
  $$$$BEGIN RESET transaction_read_only; UPDATE public.items SET n = n + 1 WHERE id = 1; RETURN 1; END$$$$;
CREATE OPERATOR other_schema.@@@ (FUNCTION = other_schema.plus, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION reset_nextval() RETURNS bigint LANGUAGE plpgsql AS
  $$$$BEGIN RESET transaction_read_only; RETURN nextval('public.counter'); END$$$$;
CREATE FUNCTION reset_in_disguise() RETURNS bigint LANGUAGE plpgsql AS
  $$$$BEGIN EXECUTE 'RESET transaction_' || 'read_only'; RETURN nextval('public.counter'); END$$$$;
CREATE FUNCTION counted(int, int) RETURNS bool LANGUAGE plpgsql AS
  $$$$BEGIN RETURN public.reset_nextval() > 0; END$$$$;
CREATE FUNCTION stable_liar() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT public.reset_nextval()';
CREATE FUNCTION of_row(items) RETURNS bigint LANGUAGE sql AS 'SELECT public.reset_nextval()';
CREATE FUNCTION of_int(int, int DEFAULT 1) RETURNS bigint LANGUAGE sql AS 'SELECT public.reset_nextval()';
CREATE FUNCTION of_anything(anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT public.reset_nextval()';
CREATE AGGREGATE sum_counted(int) (SFUNC = other_schema.plus, STYPE = int, INITCOND = '0');
CREATE OPERATOR @@+ (FUNCTION = counted, LEFTARG = int, RIGHTARG = int);
CREATE VIEW hidden_nextval AS SELECT reset_nextval() AS x;
CREATE VIEW hidden_twice AS SELECT * FROM hidden_nextval;
CREATE VIEW hidden_in_disguise AS SELECT reset_in_disguise() AS x;
CREATE VIEW hidden_operator AS SELECT id FROM items WHERE id @@+ 1;
CREATE VIEW hidden_lo AS SELECT lo_from_bytea(0, 'x') AS x;
CREATE VIEW hidden_file AS SELECT privileged_file() AS x;
CREATE VIEW hidden_slot AS SELECT privileged_slot() AS x;
CREATE VIEW hidden_far AS SELECT * FROM dblink('host=127.0.0.1 port=$port dbname=shop user=app password=$app_password',
  'INSERT INTO log (who) VALUES (''escaped'') RETURNING 1') AS t(a int);
CREATE TABLE guarded (id int);
INSERT INTO guarded VALUES (1);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (reset_nextval() > 0);
CREATE DOMAIN counting AS int CHECK (counted(VALUE, 1));
CREATE VIEW far_source AS SELECT nextval('public.counter') AS x;
CREATE FOREIGN TABLE far_log (id bigint, who text, what text) SERVER loop OPTIONS (table_name 'log');
CREATE FOREIGN TABLE far_counter (x bigint) SERVER loop OPTIONS (table_name 'far_source');
CREATE FUNCTION far_by_itself() RETURNS int LANGUAGE plpgsql AS $$$$BEGIN PERFORM * FROM dblink(
  'host=127.0.0.1 port=$port dbname=shop user=app password=$app_password', 'INSERT INTO log (who) VALUES (''escaped'')
  RETURNING 1') AS t(a int); RETURN 1; END$$$$;
-- What no text names, and the planner or an input function runs all the same. (Not for who looks through the server's own socket.)
CREATE FUNCTION liar(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  $$$$BEGIN IF inet_client_addr() IS NOT NULL THEN PERFORM public.reset_nextval(); END IF; RETURN a; END$$$$;
CREATE TABLE of_statistics AS SELECT a, a AS b FROM generate_series(1, 100) a;
CREATE STATISTICS of_statistics_s ON (a + liar(1)), b FROM of_statistics;
CREATE TABLE of_key (a int) PARTITION BY RANGE ((a + liar(1)));
CREATE TABLE of_key_1 PARTITION OF of_key FOR VALUES FROM (0) TO (100);
CREATE TABLE of_index (a int);
CREATE INDEX of_index_i ON of_index ((a + liar(1)));
CREATE TABLE of_check (a int CHECK (a > liar(0)));
CREATE TABLE of_domains (a int, many counting[]);
CREATE TABLE of_pages (id int, words text[]);
CREATE INDEX of_brin ON of_pages USING brin (id);
CREATE INDEX of_gin ON of_pages USING gin (words) WITH (fastupdate = on);
INSERT INTO of_pages SELECT n, ARRAY['a' || n] FROM generate_series(1, 50) n;
CREATE TABLE brittle AS SELECT n FROM generate_series(1, 50) n;
SELECT lo_from_bytea(12345, 'old');
CREATE MATERIALIZED VIEW frozen_items AS SELECT count(*) FROM log;
RESET ROLE;
"""

CLIENT = {
    "a plain write": [WRITE],
    "set transaction": ["BEGIN", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "set transaction after a read": ["BEGIN", "SELECT 1", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "set transaction in a savepoint": ["BEGIN", "SAVEPOINT a", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "set parameter": ["BEGIN", "SET transaction_read_only = off", WRITE, "COMMIT"],
    "set local parameter": ["BEGIN", "SET LOCAL transaction_read_only = off", WRITE, "COMMIT"],
    "set to default": ["BEGIN", "SELECT count(*) FROM items", "SET transaction_read_only TO DEFAULT", WRITE, "COMMIT"],
    "reset": ["BEGIN", "RESET transaction_read_only", WRITE, "COMMIT"],
    "reset after a read": ["BEGIN", "SELECT count(*) FROM items", "RESET transaction_read_only", WRITE, "COMMIT"],
    "reset all": ["BEGIN", "SELECT count(*) FROM items", "RESET ALL", WRITE, "COMMIT"],
    "reset in a savepoint": ["BEGIN", "SAVEPOINT a", "RESET transaction_read_only", "RELEASE a", WRITE, "COMMIT"],
    "rollback to before the guard": ["BEGIN", "SAVEPOINT a", "SELECT 1", "ROLLBACK TO a", WRITE, "COMMIT"],
    "set_config off": ["BEGIN", "SELECT set_config('transaction_read_only', 'off', false)", WRITE, "COMMIT"],
    "set_config null": ["BEGIN", "SELECT count(*) FROM items", "SELECT set_config('transaction_read_only', NULL, false)", WRITE,
                        "COMMIT"],
    "set_config computed": ["BEGIN", "SELECT set_config('transaction_' || 'read_only', 'o' || 'ff', true)", WRITE, "COMMIT"],
    "set_config in a subquery": ["BEGIN", "SELECT (SELECT set_config('transaction_read_only', NULL, true)) FROM items LIMIT 1",
                                 WRITE, "COMMIT"],
    "pg_settings": ["BEGIN", "SELECT 1", "UPDATE pg_settings SET setting = 'off' WHERE name = 'transaction_read_only'", WRITE,
                    "COMMIT"],
    "begin read write": ["BEGIN READ WRITE", WRITE, "COMMIT"],
    "start transaction read write": ["START TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "begin isolation, read write": ["BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE", WRITE, "COMMIT"],
    "nested begin": ["BEGIN", "BEGIN READ WRITE", WRITE, "COMMIT"],
    "session characteristics": ["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", WRITE],
    "default off": ["SET default_transaction_read_only = off", WRITE],
    "default off, by set_config": ["SELECT set_config('default_transaction_read_only', 'off', false)", WRITE],
    "default reset": ["RESET default_transaction_read_only", WRITE],
    "default reset in a block": ["BEGIN", "RESET default_transaction_read_only", "COMMIT", WRITE],
    "reset all outside": ["RESET ALL", WRITE],
    "discard all": ["DISCARD ALL", WRITE],
    "commit and chain": ["BEGIN", "SELECT 1", "COMMIT AND CHAIN", WRITE, "COMMIT"],
    "rollback and chain": ["BEGIN", "SELECT 1", "ROLLBACK AND CHAIN", WRITE, "COMMIT"],
    "rollback and chain after an error": ["BEGIN", "SELECT 1/0", "ROLLBACK AND CHAIN", WRITE, "COMMIT"],
    "chain, then set": ["BEGIN", "SELECT 1", "COMMIT AND CHAIN", "SET TRANSACTION READ WRITE", WRITE, "COMMIT"],
    "commit first": ["COMMIT", INSERT],
    "rollback first": ["ROLLBACK", INSERT],
    "end and begin": ["SELECT 1", "COMMIT", "BEGIN READ WRITE", INSERT, "COMMIT"],
    "end of a block and a write": ["BEGIN", "SELECT 1", "COMMIT", INSERT],
    "a function that writes": ["SELECT bump()"],
    "a function in a block": ["BEGIN", "SELECT bump()", "COMMIT"],
    "a function that resets": ["SELECT sly()"],
    "a function that resets, in a block": ["BEGIN", "SELECT sly()", "COMMIT"],
    "a function that resets, then a write": ["BEGIN", "SELECT sly()", WRITE, "COMMIT"],
    "a view over it": ["SELECT * FROM sly_view"],
    "a view over it, in a block": ["BEGIN", "SELECT * FROM sly_view", WRITE, "COMMIT"],
    "a cursor over it": ["BEGIN", "DECLARE c CURSOR FOR SELECT sly()", "FETCH 1 FROM c", "COMMIT"],
    "a cursor with hold over it": ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT sly()", "COMMIT"],
    "explain analyze of it": ["EXPLAIN ANALYZE SELECT sly()"],
    "copy of it": ["COPY (SELECT sly()) TO STDOUT"],
    "prepare of it": ["PREPARE p AS SELECT sly()", "EXECUTE p"],
    "it in the where clause": ["SELECT 1 FROM items WHERE sly() = 1 LIMIT 1"],
    "it in a values list": ["VALUES (sly())"],
    "it in an order by": ["SELECT id FROM items WHERE id = 1 ORDER BY sly()"],
    "a sequence": ["SELECT nextval('counter')"],
    "a sequence, set": ["SELECT setval('counter', 99)"],
    "a sequence in a table function": ["SELECT * FROM generate_series(1, nextval('counter'))"],
    "a large object": ["SELECT lo_creat(-1)"],
    "a large object from bytes": ["SELECT lo_from_bytea(0, 'abc')"],
    "a large object, written": ["BEGIN", "SELECT lo_put(12345, 0, 'new')", "COMMIT"],
    "a large object, opened": ["BEGIN", "SELECT lowrite(lo_open(12345, 131072), 'new')", "COMMIT"],
    "a large object, dropped": ["SELECT lo_unlink(12345)"],
    "a large object, cut": ["BEGIN", "SELECT lo_truncate(lo_open(12345, 131072), 1)", "COMMIT"],
    "a large object, made from a sequence": ["SELECT lo_create(nextval('counter')::oid)"],
    "a large object in a block": ["BEGIN", "SELECT lo_create(777)", "COMMIT"],
    "a data-modifying with": ["WITH w AS (INSERT INTO log (who) VALUES ('escaped') RETURNING 1) SELECT * FROM w"],
    "explain analyze": ["EXPLAIN ANALYZE " + INSERT],
    "explain analyze create table as": ["EXPLAIN ANALYZE CREATE TABLE made AS SELECT 1"],
    "explain analyze select into": ["EXPLAIN ANALYZE SELECT 1 AS a INTO made"],
    "prepare in SQL": ["PREPARE p AS " + INSERT, "EXECUTE p"],
    "procedure with commit inside": ["CALL commits_inside()"],
    "do block with commit inside": ["DO $$BEGIN COMMIT; INSERT INTO log (who) VALUES ('escaped'); END$$"],
    "do block that resets": ["DO $$BEGIN RESET transaction_read_only; INSERT INTO log (who) VALUES ('escaped'); END$$"],
    "prepare transaction": ["BEGIN", INSERT, "PREPARE TRANSACTION 'escaped'"],
    "commit prepared": ["COMMIT PREPARED 'pending'"],
    "rollback prepared": ["ROLLBACK PREPARED 'pending'"],
    "prepare transaction, empty": ["BEGIN", "SELECT 1", "PREPARE TRANSACTION 'escaped'"],
    "query_to_xml": ["SELECT query_to_xml('" + INSERT.replace("'", "''") + "', true, true, '')"],
    "query_to_xml that resets": ["SELECT query_to_xml('SELECT sly()', true, true, '')"],
    "ts_stat": ["SELECT * FROM ts_stat('SELECT sly()::text::tsvector')"],
    "table_to_xml": ["SELECT table_to_xml('sly_view', true, true, '')"],
    "schema_to_xml": ["SELECT schema_to_xml('public', true, true, '')"],
    "cursor_to_xml": ["BEGIN", "DECLARE c CURSOR FOR SELECT sly()", "SELECT cursor_to_xml('c', 1, true, true, '')", "COMMIT"],
    "ts_rewrite": ["SELECT ts_rewrite('a'::tsquery, 'SELECT sly()::text::tsquery, sly()::text::tsquery')"],
    "connectby": ["SELECT * FROM connectby('sly_view', 'x', 'x', '1', 0) AS t(k int, p int, l int)"],
    "xpath_table": ["SELECT * FROM xpath_table('id', 'name', 'items', '/a', 'sly() = 1') AS t(id int, a text)"],
    "a snapshot, taken over": ["BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE", "SET TRANSACTION SNAPSHOT '00000003-00000001-1'", WRITE,
                               "COMMIT"],
    "a snapshot, exported": ["BEGIN", "SELECT pg_export_snapshot()", WRITE, "COMMIT"],
    "a transaction id": ["SELECT txid_current()", "SELECT pg_current_xact_id()"],
    "a range of BRIN": ["SELECT brin_desummarize_range('of_brin', 0)"],
    "pending entries of GIN": ["SELECT gin_clean_pending_list('of_gin')"],
    "settings of the role": ["ALTER ROLE app SET default_transaction_read_only = off"],
    "settings of the database": ["ALTER DATABASE shop SET work_mem = '1MB'"],
    "a temporary table": ["CREATE TEMP TABLE mine (a int)"],
    "a temporary table, select into": ["SELECT 1 AS a INTO TEMP mine"],
    "analyze": ["ANALYZE items"],
    "reindex": ["REINDEX TABLE items"],
    "cluster": ["CLUSTER items USING items_pkey"],
    "analyze by vacuum": ["VACUUM (ANALYZE) items"],
    "refresh": ["REFRESH MATERIALIZED VIEW frozen_items"],
    "truncate": ["TRUNCATE guarded"],
    "a sequence, altered": ["ALTER SEQUENCE counter RESTART WITH 50"],
    "vacuum full": ["VACUUM FULL items"],
    "comment": ["COMMENT ON TABLE items IS 'escaped'"],
    "lock table": ["BEGIN", "LOCK TABLE items IN ACCESS EXCLUSIVE MODE", WRITE, "COMMIT"],
    "a backslash that hides a quote": ["SET standard_conforming_strings = off",
                                       "SELECT '\\', '; INSERT INTO log (who) VALUES (1); --'"],
    "a backslash, set in the same text": [
        "SELECT set_config('standard_conforming_strings', 'off', false)",
        "SELECT '\\', '; INSERT INTO log (who) VALUES (1); --'"],
    "a backslash in an escape string": ["SELECT E'\\', '; INSERT INTO log (who) VALUES (1); --'"],
    "an encoding that hides a quote": ["SET client_encoding = 'SJIS'", "SELECT '\x95'; " + INSERT + "; --'"],
    "a comment that is not one": ["SELECT 1 /* /* */ */ ; " + INSERT + " --"],
    "a function of the same name": ["SET search_path = other_schema, pg_catalog, public", "SELECT lower('x')"],
    "an operator": ["SELECT 1 OPERATOR(other_schema.@@@) 1"],
    "an operator by search_path": ["SET search_path = other_schema, public", "SELECT 1 @@@ 1"],
    "become another role": ["SET ROLE helper_role", "RESET ROLE", WRITE],
    "session authorization": ["SET SESSION AUTHORIZATION DEFAULT", WRITE],
    "replication role": ["SET session_replication_role = replica", WRITE],
    "notify": ["NOTIFY news, 'x'"],
    "a write of another session by its backend": ["SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"],
    "reset and nextval": ["SELECT reset_nextval()"],
    "reset and nextval in a block": ["BEGIN", "SELECT 1", "SELECT reset_nextval()", "COMMIT"],
    "reset and nextval behind a view": ["SELECT * FROM hidden_nextval"],
    "reset and nextval behind two views": ["SELECT x FROM hidden_twice WHERE x > 0"],
    "reset and nextval behind an operator": ["SELECT id @@+ 1 FROM items WHERE id = 1"],
    "reset and nextval behind a view's operator": ["SELECT count(*) FROM hidden_operator"],
    "reset and nextval behind a policy": ["SELECT * FROM guarded"],
    "reset and nextval behind a domain": ["SELECT 5::counting"],
    "reset and nextval behind an aggregate": ["SELECT sum_counted(id) FROM items"],
    "reset and nextval as an attribute": ["SELECT (i).of_row FROM items i LIMIT 1", "SELECT i.of_row FROM items i LIMIT 1"],
    "reset and nextval as an attribute of a constant": ["SELECT (1).of_int", "SELECT (id).of_int FROM items WHERE id = 1"],
    "reset and nextval as an attribute of anything": ["SELECT (1).of_anything", "SELECT i.of_anything FROM items i LIMIT 1"],
    "a sequence as an attribute": ["SELECT ('counter'::regclass).nextval"],
    "a backend as an attribute": ["SELECT (pid).pg_cancel_backend FROM pg_stat_activity WHERE usename = 'app'"],
    "reset and nextval in a stable function": ["SELECT stable_liar()"],
    "reset and nextval while planning": ["EXPLAIN SELECT * FROM hidden_nextval", "PREPARE p AS SELECT stable_liar()"],
    "reset and nextval in statistics": ["SELECT count(*) FROM of_statistics WHERE a = 1"],
    "reset and nextval in the key of partitions": ["SELECT count(*) FROM of_key WHERE a = 3"],
    "reset and nextval in the key of its parent": ["SET constraint_exclusion = on", "SELECT count(*) FROM of_key_1 WHERE a = 3"],
    "reset and nextval in an index": ["SELECT count(*) FROM of_index WHERE a = 3"],
    "reset and nextval in a check": ["SET constraint_exclusion = on", "SELECT count(*) FROM of_check WHERE a = 3"],
    "reset and nextval in an array of a domain": ["SELECT count(*) FROM of_domains WHERE many = '{5}'"],
    "reset and nextval in a row with a domain": ["SELECT count(*) FROM of_domains d WHERE d = '(5,{6})'"],
    "reset and nextval in a record that is made up": ["SELECT * FROM json_to_record('{\"a\": 5}') AS x(a counting)"],
    "reset and nextval in a record of a table": ["SELECT json_populate_record(NULL::of_domains, '{\"a\": 5, \"many\": [6]}')"],
    "reset and nextval in a table of XML": ["SELECT * FROM xmltable('/a' PASSING xml '<a>5</a>' COLUMNS a counting PATH '.')"],
    "reset and nextval in a type of a parameter": ["PREPARE p(counting) AS SELECT $1", "EXECUTE p('5')"],
    "copy of a policy's table": ["COPY guarded TO STDOUT"],
    "a large object behind a view": ["SELECT * FROM hidden_lo", "BEGIN", "SELECT * FROM hidden_lo", "COMMIT"],
    "a server file behind a view": ["SELECT * FROM hidden_file"],
    "a server file by a privileged function": ["SELECT privileged_file()"],
    "a slot behind a view": ["SELECT * FROM hidden_slot"],
    "a slot by a privileged function": ["SELECT privileged_slot()"],
    "dblink": ["SELECT * FROM dblink('host=127.0.0.1 port=$port dbname=shop user=app password=$app_password', "
               "'INSERT INTO log (who) VALUES (1) RETURNING 1') AS t(a int)"],
    "dblink_exec": ["SELECT dblink_exec('host=127.0.0.1 port=$port dbname=shop user=app password=$app_password', "
                    "'INSERT INTO log (who) VALUES (1)')"],
    "dblink_connect": ["SELECT dblink_connect('x', 'host=127.0.0.1 port=$port dbname=shop user=app password=$app_password')",
                       "SELECT dblink_exec('x', 'INSERT INTO log (who) VALUES (1)')"],
    "dblink behind a view": ["SELECT * FROM hidden_far"],
    "dblink in a function": ["SELECT far_by_itself()"],
    "dblink as an attribute": ["SELECT ('host=127.0.0.1 port=$port dbname=shop user=app password=$app_password'::text).dblink_connect, "
                               "('INSERT INTO log (who) VALUES (1)'::text).dblink_exec"],
    "crosstab of SQL as text": ["SELECT * FROM crosstab('SELECT 1, 2, reset_nextval()::int') AS t(a int, b int)"],
    "a foreign write": ["INSERT INTO far_log (who) VALUES ('escaped')"],
    "a foreign update": ["UPDATE far_log SET who = 'escaped'"],
    "a foreign write in a cte": ["WITH w AS (DELETE FROM far_log RETURNING 1) SELECT * FROM w"],
    "a foreign schema": ["IMPORT FOREIGN SCHEMA public LIMIT TO (log) FROM SERVER loop INTO other_schema"],
    "emit a message of a transaction": ["BEGIN", "SELECT pg_logical_emit_message(true, 'x', 'y')", "COMMIT"],
    "a setting of other sessions": ["SELECT set_config('work_mem', '1MB', false)", "ALTER ROLE app IN DATABASE shop SET work_mem = '1MB'"],
    "explain of a prepared write": ["PREPARE p AS " + INSERT, "EXPLAIN ANALYZE EXECUTE p"],
    "create table as execute": ["PREPARE p AS SELECT sly()", "CREATE TABLE made AS EXECUTE p"],
    "emit a message": ["SELECT pg_logical_emit_message(false, 'x', 'y')"],
}

# Of these the fingerprint of an open server must change too, but as a superuser.
PRIVILEGED = {
    "copy to a file": ["COPY items TO '$folder/copied'"],
    "copy to a program": ["COPY items TO PROGRAM 'cat > $folder/programmed'"],
    "copy from a program": ["COPY log (who) FROM PROGRAM 'echo x'"],
    "write a file": ["SELECT pg_catalog.pg_file_write('$folder/adminpack', 'x', false)"],
    "export a large object": ["SELECT lo_export(12345, '$folder/exported')"],
    "import a large object": ["SELECT lo_import('$folder/kept')"],
    "alter system": ["ALTER SYSTEM SET work_mem = '5MB'"],
    "a replication slot": ["SELECT pg_create_physical_replication_slot('escaped')"],
    "a temporary replication slot": ["SELECT pg_create_physical_replication_slot('escaped', true, true)"],
    "a replication slot, copied": ["SELECT pg_copy_physical_replication_slot('kept', 'escaped_too')"],
    "a replication slot, moved": ["SELECT pg_replication_slot_advance('kept', pg_current_wal_lsn())"],
    "a file, renamed and removed": ["SELECT pg_catalog.pg_file_rename('$folder/kept', '$folder/moved')",
                                    "SELECT pg_catalog.pg_file_unlink('$folder/kept')"],
    "a file, written by copy of a query": ["COPY (SELECT 1) TO '$folder/query'"],
    "a program behind a query": ["COPY (SELECT 1) TO PROGRAM 'cat > $folder/query_program'"],
    "alter system, by a function's words": ["SELECT set_config('work_mem', '5MB', false)", "ALTER SYSTEM RESET ALL"],
    "statistics, reset": ["SELECT pg_stat_reset()"],
    "a wal segment, switched": ["SELECT pg_switch_wal()"],
    "a replication slot, dropped": ["SELECT pg_drop_replication_slot('kept')"],
    "a restore point": ["SELECT pg_create_restore_point('escaped')"],
    "a replication origin": ["SELECT pg_replication_origin_create('escaped')"],
    "create a role": ["CREATE ROLE escaped"],
    "checkpoint and reload": ["CHECKPOINT", "SELECT pg_reload_conf()"],
    "a do block with a file": ["DO $$$$BEGIN COPY (SELECT 1) TO '$folder/done'; END$$$$"],
    "collations": ["SELECT pg_import_system_collations('public')"],
    "an allowed catalog write": ["SET allow_system_table_mods = on", "UPDATE pg_class SET reltuples = 7 WHERE relname = 'items'"],
    "load": ["LOAD 'auto_explain'"],
    "a row, killed": ["SELECT heap_force_kill('brittle', ARRAY['(0,1)']::tid[])"],
    "a row, frozen": ["SELECT heap_force_freeze('brittle', ARRAY['(0,2)']::tid[])"],
    "a standby, resumed and promoted": ["SELECT pg_wal_replay_resume()", "SELECT pg_promote(false)"],
    "configuration, loaded again": ["SELECT pg_reload_conf()"],
}

# Code that nobody can see through: what the README names as open where functions are judged by the server. Then what it
# changes: on a site whose reads run on the primary, and beside a frozen replica.
HIDDEN = {
    "SQL that a function makes up": (["SELECT reset_in_disguise()", "SELECT * FROM hidden_in_disguise"],
                                     {"sequence public.counter"}, set()),
    "a file by SQL that a privileged function makes up": (["SELECT privileged_file_in_disguise()"], {"files"}, {"files"}),
    "a function in C": (["SELECT kill_row('brittle', ARRAY[(SELECT min(ctid) FROM brittle)])"], {"table public.brittle"}, set()),
    "a foreign table with a program": (["SELECT * FROM program_output"], {"files"}, {"files"}),
    "a foreign table over the primary itself": (["SELECT * FROM far_counter"], {"sequence public.counter"},
                                                {"sequence public.counter"}),
}


def filled(sql, values):
    return string.Template(sql).safe_substitute(values) if "$port" in sql or "$folder" in sql else sql


def scripts_of(table, values):
    return {name: [filled(sql, values) for sql in script] for name, script in table.items()}


def values(server, app_password, folder):
    return {"port": server.port, "app_password": app_password, "folder": folder}


def extra(server, app_password, folder):
    return string.Template(EXTRA).substitute(values(server, app_password, folder))


def scratch_folder(server):
    """Where escapes would leave files: within the server's own folder, so that it may write there."""
    folder = os.path.join(server.root, "escaped")
    return folder
