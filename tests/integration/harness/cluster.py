"""A primary and its hot standby, with the roles and databases that the tests use. One for the whole run."""
from .postgres import BIN, Postgres
from .wait import wait_for

APP_PASSWORD = "app-secret"
OWNER_PASSWORD = "owner-secret"
CONTROL_PASSWORD = "control-secret"
AUTH_PASSWORD = "auth-secret"

# What a control role needs, and no more: to see everybody's activity, and to pause and resume replay. Rights on
# functions are per database: they are granted in the database that the control role connects to.
CONTROL_RIGHTS = """
GRANT pg_monitor TO lull;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_wal_replay_pause(), pg_catalog.pg_wal_replay_resume() TO lull;
"""

ROLES = f"""
CREATE ROLE app LOGIN PASSWORD '{APP_PASSWORD}';
CREATE ROLE verifier_user LOGIN PASSWORD 'verifier-secret';
CREATE ROLE query_user LOGIN PASSWORD 'query-secret';
CREATE ROLE nologin_user NOLOGIN PASSWORD 'nologin-secret';
CREATE ROLE trusty LOGIN;
CREATE ROLE other LOGIN PASSWORD 'other-secret';
CREATE ROLE helper_role NOLOGIN;
GRANT helper_role TO app;
GRANT app TO verifier_user, query_user, trusty;
CREATE ROLE shop_owner LOGIN PASSWORD '{OWNER_PASSWORD}';
GRANT app TO shop_owner;
CREATE ROLE lull LOGIN PASSWORD '{CONTROL_PASSWORD}';
CREATE ROLE lull_auth LOGIN PASSWORD '{AUTH_PASSWORD}';
GRANT SELECT ON pg_catalog.pg_authid TO lull_auth;
{CONTROL_RIGHTS}
"""

# shop refuses writes while it is sealed, held holds them; bench belongs to pgbench.
DATABASES = ("shop", "held", "bench")

SCHEMA = """
DROP SCHEMA IF EXISTS public CASCADE;
DROP SCHEMA IF EXISTS other_schema CASCADE;
CREATE SCHEMA public AUTHORIZATION app;
GRANT ALL ON SCHEMA public TO app, shop_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
CREATE SCHEMA other_schema AUTHORIZATION app;
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
SET ROLE app;
CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, n int NOT NULL DEFAULT 0);
INSERT INTO items SELECT i, 'item ' || i, 0 FROM generate_series(1, 100) i;
GRANT ALL ON items TO helper_role;
CREATE TABLE log (id bigserial PRIMARY KEY, who text, what text);
CREATE SEQUENCE counter;
CREATE FUNCTION bump() RETURNS int LANGUAGE sql VOLATILE AS 'UPDATE items SET n = n + 1 WHERE id = 1 RETURNING n';
CREATE FUNCTION sly() RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$BEGIN RESET transaction_read_only; UPDATE items SET n = n + 1 WHERE id = 1; RETURN 1; END$$;
CREATE VIEW sly_view AS SELECT sly() AS x;
CREATE PROCEDURE commits_inside() LANGUAGE plpgsql AS
  $$BEGIN COMMIT; INSERT INTO log (who, what) VALUES ('procedure', 'after commit'); COMMIT; END$$;
RESET ROLE;
"""


class Cluster:
    """`alone`: the standby is never made."""

    def __init__(self, bin=BIN, alone=False):
        self.primary = Postgres("primary", bin)
        self.standby = Postgres("standby", bin)
        self.alone = alone

    def start(self):
        self.primary.initdb().start()
        self.primary.sql(ROLES)
        for name in DATABASES:
            self.primary.sql(f"CREATE DATABASE {name} OWNER app")
        if not self.alone:
            self.standby.basebackup_of(self.primary).start()
        return self

    def verifier_of(self, role):
        return self.primary.one("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role,))

    def reset(self, *databases):
        """Both servers up, replay running, the tables as at first, nobody's locks left."""
        for server in (self.primary,) if self.alone else (self.primary, self.standby):
            if not server.running:
                server.start()
        if not self.alone:
            self.standby.resume()
        for gid, database in self.primary.sql("SELECT gid, database FROM pg_prepared_xacts"):
            self.primary.sql(f"ROLLBACK PREPARED '{gid}'", db=database)
        for name in databases or ("shop",):
            self.primary.sql("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = %s "
                             "AND client_addr IS NOT NULL AND (state <> 'idle' OR backend_xid IS NOT NULL)", (name,))
            self.primary.sql(SCHEMA, db=name)
        self.catch_up()

    def catch_up(self):
        if not self.alone:
            self.standby.wait_replayed(self.primary)

    def wait_streaming(self):
        wait_for(lambda: self.primary.sql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"),
                 "the standby streams")

    def remove(self):
        self.standby.remove()
        self.primary.remove()
