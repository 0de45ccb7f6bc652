"""Everything durable of a database, as a small value: equal before and after means that nothing was changed."""

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
}


def _digest(columns, source):
    return f"SELECT md5(coalesce(string_agg(r::text, E'\\n' ORDER BY r::text), '')) FROM (SELECT {columns} FROM {source}) r"


def fingerprint(server, db="shop"):
    """{'table public.items': digest, 'catalog pg_class': digest, ...}; asked as superuser, past Lull."""
    names = [(f"catalog {name}", _digest(columns, f"pg_catalog.{name}")) for name, columns in CATALOGS.items()]
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
    return dict(zip((name for name, _ in names), server.sql(together, db=db)[0]))


def changes(before, after):
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
