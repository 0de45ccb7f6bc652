"""Everything durable of a database, as a small value: equal before and after means that nothing was changed."""
import os

# Columns that maintenance by the server itself may change.
CATALOGS = {
    "pg_class": "oid, relname, relnamespace, reltype, relowner, relam, relfilenode, reltablespace, relhasindex, relpersistence, "
                "relkind, relnatts, relchecks, relhasrules, relhastriggers, relrowsecurity, relacl::text, reloptions",
    "pg_attribute": "attrelid, attname, atttypid, attnum, attnotnull, atthasdef, attisdropped, attacl::text, attstattarget",
    "pg_proc": "oid, proname, proowner, prosrc, proacl::text, proconfig",
    "pg_type": "oid, typname, typowner", "pg_constraint": "oid, conname", "pg_index": "indexrelid, indisvalid",
    "pg_trigger": "oid, tgname, tgenabled", "pg_rewrite": "oid, rulename", "pg_attrdef": "oid, adbin::text",
    "pg_namespace": "oid, nspname, nspacl::text", "pg_policy": "oid, polname", "pg_statistic_ext": "oid, stxname",
    "pg_description": "objoid, description", "pg_extension": "oid, extname", "pg_largeobject_metadata": "oid, lomowner",
    "pg_database": "oid, datname, datdba, datallowconn, datacl::text", "pg_db_role_setting": "setdatabase, setrole, setconfig",
    "pg_prepared_xacts": "gid, database", "pg_replication_slots": "slot_name, slot_type",
    "pg_statistic": "starelid, staattnum", "pg_event_trigger": "oid, evtname", "pg_default_acl": "oid, defaclacl::text",
    "pg_operator": "oid, oprname, oprcode", "pg_cast": "oid, castfunc", "pg_aggregate": "aggfnoid, aggtransfn",
    "pg_foreign_server": "oid, srvname, srvoptions", "pg_user_mapping": "oid, umoptions", "pg_subscription": "oid, subname, subenabled",
    "pg_publication": "oid, pubname", "pg_auth_members": "roleid, member, admin_option", "pg_shdescription": "objoid, description",
    "pg_replication_origin": "roident, roname", "pg_tablespace": "oid, spcname", "pg_inherits": "inhrelid, inhparent",
    "pg_collation": "oid, collname", "pg_conversion": "oid, conname", "pg_am": "oid, amname", "pg_language": "oid, lanname",
    "pg_foreign_table": "ftrelid, ftoptions", "pg_enum": "oid, enumlabel", "pg_ts_config": "oid, cfgname",
}


def _digest(columns, source):
    return f"SELECT md5(coalesce(string_agg(r::text, E'\\n' ORDER BY r::text), '')) FROM (SELECT {columns} FROM {source}) r"


def fingerprint(server, db="shop"):
    """{'table public.items': digest, 'catalog pg_class': digest, ...}; asked as superuser, past Lull."""
    names = [(f"catalog {name}", _digest(columns, f"pg_catalog.{name}")) for name, columns in CATALOGS.items()]
    names.append(("settings", "SELECT md5(pg_read_file('postgresql.auto.conf'))"))
    names.append(("roles", _digest("rolname, rolsuper, rolcanlogin, rolpassword", "pg_catalog.pg_authid")))
    names.append(("large objects", _digest("loid, pageno, data", "pg_catalog.pg_largeobject")))
    relations = server.sql("SELECT quote_ident(nspname) || '.' || quote_ident(relname), relkind FROM pg_class c "
                           "JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'S', 'm') "
                           "AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema' ORDER BY 1", db=db)
    for name, kind in relations:
        if kind == b"S" or kind == "S":
            names.append((f"sequence {name}", _digest("last_value, is_called", name)))
        else:
            names.append((f"table {name}", _digest("xmin, ctid, *", name)))
    together = "SELECT " + ", ".join(f"({sql})" for _, sql in names)
    seen = dict(zip((name for name, _ in names), server.sql(together, db=db)[0]))
    seen["files"] = sorted((path, os.path.getsize(path)) for folder in (server.root + "/escaped", server.data)
                           if os.path.isdir(folder) for path in (entry.path for entry in os.scandir(folder) if entry.is_file())
                           if not path.endswith("postmaster.pid"))
    return seen


def changes(before, after):
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
