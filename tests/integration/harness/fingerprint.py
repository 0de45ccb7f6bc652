"""Everything durable of a server, as a small value: equal before and after means that nothing was changed. What is said of one
database in full is said of the others, too, but in less detail where they have much."""
import hashlib
import os

# Of each row where it is and who wrote it: enough, for no row changes without another place or another writer. But these two,
# which VACUUM and CREATE INDEX change in place.
_ALL = """aggregate am amop amproc attrdef attribute auth_members authid cast class collation constraint conversion database db_role_setting
default_acl depend description enum event_trigger extension foreign_data_wrapper foreign_server foreign_table index inherits init_privs
language largeobject largeobject_metadata namespace opclass operator opfamily parameter_acl partitioned_table policy proc publication
publication_namespace publication_rel range replication_origin rewrite seclabel sequence shdepend shdescription shseclabel statistic
statistic_ext statistic_ext_data subscription subscription_rel tablespace transform trigger ts_config ts_config_map ts_dict ts_parser
ts_template type user_mapping""".split()
CATALOGS = {f"pg_{name}": "ctid, xmin" for name in _ALL} | {
    "pg_class": "ctid, xmin, *", "pg_database": "ctid, xmin, *", "pg_prepared_xacts": "gid, transaction, owner, database", "pg_replication_origin_status": "*",
}
# Of other databases these alone, because it takes time: nothing is made or dropped without one of them.
_FEW = """attribute class constraint default_acl depend description extension index largeobject largeobject_metadata namespace proc
rewrite statistic type""".split()
ELSEWHERE = {name: CATALOGS[name] for name in (f"pg_{few}" for few in _FEW)}
SMALL = 1 << 20
# What a server has of its own, primary or standby; slots that nobody uses stay where they are.
SERVER = {
    "settings": "SELECT md5(string_agg(pg_read_file(name), '' ORDER BY name)) || pg_conf_load_time() FROM (VALUES ('postgresql.auto.conf'), "
                "('postgresql.conf'), ('pg_hba.conf'), ('pg_ident.conf')) f(name)",
    "slots": "SELECT string_agg(s::text, E'\\n' ORDER BY s::text) FROM (SELECT slot_name, plugin, slot_type, database, temporary, active, "
             "restart_lsn, confirmed_flush_lsn, two_phase FROM pg_replication_slots) s",
    "statistics reset": "SELECT string_agg(s::text, ' ' ORDER BY s) FROM (SELECT stats_reset FROM pg_stat_database WHERE datname = "
                        "current_database() UNION ALL SELECT stats_reset FROM pg_stat_bgwriter UNION ALL SELECT stats_reset FROM pg_stat_wal "
                        "UNION ALL SELECT stats_reset FROM pg_stat_archiver) s",
    "recovery": "SELECT pg_is_in_recovery()::text || CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() ELSE '' END",
}


def _digest(columns, source):
    return f"SELECT md5(coalesce(string_agg(r::text, E'\\n' ORDER BY r::text), '')) FROM (SELECT {columns} FROM {source}) r"


def fingerprint(server, db="shop"):
    """{'table public.items': digest, 'catalog pg_class': digest, 'held: table ...': digest, ...}; asked as superuser, past Lull."""
    seen = database(server, db, CATALOGS, SERVER)
    for other, in server.sql("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> %s ORDER BY 1", (db,)):
        seen |= {f"{other}: {name}": digest for name, digest in database(server, other, ELSEWHERE, {}).items()}
    return seen | {"files": files(server)}


def database(server, db, catalogs, more):
    names = [(f"catalog {name}", _digest(columns, f"pg_catalog.{name}")) for name, columns in catalogs.items()]
    names += more.items()
    relations = server.sql("SELECT quote_ident(nspname) || '.' || quote_ident(relname), relkind::text, "
                           "(SELECT amname FROM pg_am WHERE pg_am.oid = relam), pg_relation_size(c.oid) FROM pg_class c "
                           "JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'S', 'm', 'i') "
                           "AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema' ORDER BY 1", db=db)
    inspects = server.one("SELECT count(*) FROM pg_extension WHERE extname = 'pageinspect'", db=db)
    for name, kind, method, size in relations:
        if kind == "S":
            names.append((f"sequence {name}", _digest("last_value, is_called", name)))
        elif kind != "i" and size <= SMALL:
            names.append((f"table {name}", _digest("xmin, ctid, *", name)))
        elif kind != "i":
            names.append((f"table {name}", _digest("count(*), sum(hashtext(xmin::text || ctid::text)::bigint)", name)))
        elif method in ("brin", "gin") and inspects:  # readers leave these as they are
            names.append((f"index {name}", f"SELECT md5(string_agg(get_raw_page('{name}', n::int), '' ORDER BY n)) FROM "
                                           f"generate_series(0, pg_relation_size('{name}') / 8192 - 1) n"))
    together = "SELECT " + ", ".join(f"({sql})" for _, sql in names)
    return dict(zip((name for name, _ in names), server.sql(together, db=db)[0]))


def files(server):
    """Of the folder where escapes leave some, and of the server's own where it does not write by itself, but for its pid: what is in
    them, where that is not much."""
    return sorted((path, content(path)) for folder in (server.root + "/escaped", server.data)
                  if os.path.isdir(folder) for path in (entry.path for entry in os.scandir(folder) if entry.is_file())
                  if not path.endswith("postmaster.pid"))


def content(path):
    size = os.path.getsize(path)
    if size > SMALL:
        return size
    with open(path, "rb") as file:
        return hashlib.md5(file.read()).hexdigest()


def standby_fingerprint(server, db="shop"):
    """What of a standby is its own, and not the primary's."""
    together = "SELECT " + ", ".join(f"({sql})" for sql in SERVER.values())
    seen = dict(zip((f"standby's {name}" for name in SERVER), server.sql(together, db=db)[0]))
    return seen | {"standby's files": files(server)}


def changes(before, after):
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
