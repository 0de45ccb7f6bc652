#!/bin/sh
# Makes function_list.inc: the functions of a fresh PostgreSQL by what a call of them does, as function_list.hpp names the classes;
# and type_list.inc and operator_list.inc, the names of its types and operators.
# Usage: routing/make_function_list.sh [BINDIR]      (as root it runs the server as user postgres)
# A name is listed `read` only if every overload of it may be called and is harmless: immutable, stable, or a volatile function
# of the reviewed list below. What a new major version adds as volatile stays unknown until somebody has read what it does.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:-/usr/lib/postgresql/15/bin}
dir=$(mktemp -d)
as=
if [ "$(id -u)" = 0 ]; then
    chown postgres "$dir"
    as="runuser -u postgres --"
fi
cd "$dir"
trap '$as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
$as "$bin/initdb" -D "$dir/data" -A trust -U postgres --no-sync >/dev/null
$as "$bin/pg_ctl" -w -D "$dir/data" -l "$dir/log" -o "-c listen_addresses= -c unix_socket_directories=$dir" start >/dev/null

major=$("$bin/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
made="// Made by routing/make_function_list.sh from PostgreSQL $major. Do not edit; sorted by bytes."
ask() { { echo "$made"; "$bin/psql" -h "$dir" -U postgres -X -qAt -v ON_ERROR_STOP=1 postgres; } >"$here/$1"; }

ask type_list.inc <<'SQL'
-- Not the row types of the catalog, and domains only where their checks are PostgreSQL's own.
select format('"%s",', typname) from pg_type t
where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'p', 'r', 'm')
  and (typelem = 0 or not exists (select from pg_class c where c.reltype = t.typelem))
order by typname::text collate "C";
SQL
ask operator_list.inc <<'SQL'
select format('"%s",', oprname) from pg_operator group by oprname order by oprname::text collate "C";
SQL
ask function_list.inc <<'SQL'
create temp table rule(class text, pattern text);
-- Changes state that outlives the session, or runs text, or touches files, other sessions, the log or replication.
insert into rule select 'denied', unnest(array[
    'nextval', 'setval', 'pg_nextoid', 'lo\_%', 'loread', 'lowrite',
    'pg\_terminate\_backend', 'pg\_cancel\_backend', 'pg\_log\_backend\_memory\_contexts', 'pg\_notify',
    'pg\_logical\_%', 'pg\_create\_%', 'pg\_drop\_replication\_slot', 'pg\_copy\_%', 'pg\_replication\_slot\_advance',
    'pg\_replication\_origin\_%', 'pg\_read\_%', 'pg\_stat\_file', 'pg\_ls\_%', 'pg\_file\_%', 'pg\_logdir\_ls',
    'pg\_hba\_file\_rules', 'pg\_ident\_file\_mappings', 'pg\_show\_all\_file\_settings', 'pg\_current\_logfile',
    'pg\_reload\_conf', 'pg\_rotate\_logfile%', 'pg\_wal\_replay\_pause', 'pg\_wal\_replay\_resume', 'pg\_switch\_wal',
    'pg\_promote', 'pg\_backup\_%', 'pg\_start\_backup', 'pg\_stop\_backup', 'pg\_export\_snapshot',
    'txid\_current', 'pg\_current\_xact\_id', 'pg\_import\_system\_collations', 'pg\_extension\_config\_dump',
    'pg\_stop\_making\_pinned\_objects', 'binary\_upgrade\_%', 'brin\_desummarize\_range', 'brin\_summarize\_%',
    'gin\_clean\_pending\_list', 'pg\_stat\_reset%', 'pg\_stat\_force\_next\_flush', 'pg\_event\_trigger\_%',
    '%\_to\_xml', '%\_to\_xmlschema', '%\_to\_xml\_and\_xmlschema', 'ts\_stat', 'ts\_rewrite']);
-- Reads or changes what belongs to this one server session.
insert into rule select 'session', unnest(array[
    'currval', 'lastval', 'setseed', 'pg\_listening\_channels', 'pg\_cursor', 'pg\_prepared\_statement', 'pg\_my\_temp\_schema',
    'pg\_stat\_clear\_snapshot']);
insert into rule select 'lock', unnest(array['pg\_advisory\_%', 'pg\_try\_advisory\_%']);
insert into rule values ('set_config', 'set\_config');
-- Refused by a standby, or of the primary only: left unknown, so that they are not sent to one.
insert into rule select 'unknown', unnest(array['pg\_current\_wal\_%', 'pg\_walfile\_%']);
-- Run code of the user's that an OID or a name in their arguments chooses: of a type, a partitioned table's operator class, the
-- constants in a function.
insert into rule select 'unknown', unnest(array['satisfies\_hash\_partition', '%\_validator', 'pg\_input\_%']);
-- Volatile, reviewed: they tell the time, draw numbers, wait, or look.
insert into rule select 'read', unnest(array[
    'clock\_timestamp', 'timeofday', 'random', 'gen\_random\_uuid', 'pg\_sleep', 'pg\_sleep\_for', 'pg\_sleep\_until',
    'current\_query', 'currtid2', 'amvalidate', 'pg\_blocking\_pids', 'pg\_safe\_snapshot\_blocking\_pids',
    'pg\_collation\_actual\_version', 'pg\_database\_collation\_actual\_version', 'pg\_control\_%', 'pg\_database\_size',
    'pg\_relation\_size', 'pg\_table\_size', 'pg\_indexes\_size', 'pg\_total\_relation\_size', 'pg\_tablespace\_size',
    'pg\_get\_backend\_memory\_contexts', 'pg\_get\_multixact\_members', 'pg\_get\_shmem\_allocations',
    'pg\_get\_wal\_replay\_pause\_state', 'pg\_is\_wal\_replay\_paused', 'pg\_get\_wal\_resource\_managers', 'pg\_is\_in\_recovery',
    'pg\_jit\_available', 'pg\_last\_committed\_xact', 'pg\_last\_wal\_receive\_lsn', 'pg\_last\_wal\_replay\_lsn',
    'pg\_last\_xact\_replay\_timestamp', 'pg\_lock\_status', 'pg\_notification\_queue\_usage', 'pg\_partition\_ancestors',
    'pg\_partition\_tree', 'pg\_prepared\_xact', 'pg\_sequence\_last\_value', 'pg\_show\_replication\_origin\_status',
    'pg\_stat\_get\_%', 'pg\_stat\_have\_stats', 'pg\_xact\_commit\_timestamp', 'pg\_xact\_commit\_timestamp\_origin',
    'pg\_xact\_status', 'txid\_status']);
with callable as (
    -- Nothing of type internal can be written in SQL; triggers and handlers are called by the server only.
    select proname::text as name, provolatile <> 'v' as steady,
           -- An input function that is told of a type: domain_in() checks it, array_in() calls that of its elements.
           proargtypes[0] = 'cstring'::regtype and 'oid'::regtype = any (proargtypes) as of_type
    from pg_catalog.pg_proc
    where pronamespace = 'pg_catalog'::regnamespace
      and not 'internal'::regtype = any (proargtypes)
      and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype, 'language_handler'::regtype,
                             'fdw_handler'::regtype, 'index_am_handler'::regtype, 'table_am_handler'::regtype,
                             'tsm_handler'::regtype)
), classed as (
    select name, bool_or(of_type) as of_type,
           (select r.class from rule r where c.name like r.pattern
            order by array_position(array['denied', 'set_config', 'unknown', 'lock', 'session', 'read'], r.class) limit 1) as class,
           bool_and(steady) as steady
    from callable c group by name
)
select format('{"%s", function_class::%s},', name, coalesce(class, 'read'))
from classed where not of_type and (class <> 'unknown' or (class is null and steady))
order by name collate "C";
SQL
