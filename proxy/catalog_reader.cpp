#include "proxy/catalog_reader.hpp"

#include "proxy/pg_query.hpp"

#include <charconv>

namespace lull {

namespace {

using routing::catalog_object;

constexpr std::chrono::seconds read_timeout{30};

constexpr char const* moment_sql =
    "SELECT extract(epoch FROM pg_postmaster_start_time())::text,"
    " CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot()::text END";

// Objects with an OID below 16384 came with the server (FirstNormalObjectId). Temporary tables come and go
// and are their session's own: they are not read; temporary views may hide what any other does.
constexpr char const* digest_sql = R"sql(
SELECT md5(concat_ws(',',
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_proc WHERE oid >= 16384),
 (SELECT sum(hashtextextended(concat_ws(' ', oid, relname, relnamespace, relkind, relpersistence, relrowsecurity, reltype), 0))
   FROM pg_class WHERE oid >= 16384
   AND (relkind = 'v' OR relkind IN ('r', 'm', 'f', 'p', 'S') AND relpersistence <> 't')),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_rewrite WHERE oid >= 16384),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_policy),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_operator WHERE oid >= 16384),
 (SELECT sum(hashtextextended(t.oid || ' ' || t.xmin, 0)) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
   WHERE t.oid >= 16384 AND n.nspname <> 'pg_toast' AND (n.nspname !~ '^pg_temp' OR t.typtype IN ('d', 'r'))),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_constraint WHERE oid >= 16384 AND contype = 'c'),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_cast WHERE oid >= 16384),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_amproc WHERE oid >= 16384),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_amop WHERE oid >= 16384),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_namespace WHERE oid >= 16384),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_extension),
 (SELECT sum(hashtextextended(indexrelid || ' ' || xmin, 0)) FROM pg_index WHERE indexrelid >= 16384
   AND (indexprs IS NOT NULL OR indpred IS NOT NULL)),
 (SELECT sum(hashtextextended(oid || ' ' || xmin, 0)) FROM pg_statistic_ext),
 (SELECT sum(hashtextextended(partrelid || ' ' || xmin, 0)) FROM pg_partitioned_table),
 (SELECT sum(hashtextextended(rngtypid || ' ' || xmin, 0)) FROM pg_range WHERE rngtypid >= 16384),
 (SELECT sum(hashtextextended(concat_ws(' ', attrelid, attnum, atttypid), 0)) FROM pg_attribute a
   JOIN pg_class c ON c.oid = a.attrelid AND c.relpersistence <> 't'
   WHERE a.atttypid >= 16384 AND a.attnum > 0),
 (SELECT sum(hashtextextended(inhrelid || ' ' || inhparent || ' ' || xmin, 0)) FROM pg_inherits),
 (SELECT sum(hashtextextended(oid || ' ' || rolname || rolsuper || rolreplication, 0)) FROM pg_roles),
 (SELECT sum(hashtextextended(roleid || ' ' || member || ' ' || xmin, 0)) FROM pg_auth_members))))sql";

constexpr char const* count_sql =
    "SELECT (SELECT count(*) FROM pg_proc WHERE oid >= 16384) +"
    " (SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'v', 'm', 'f', 'p', 'S'))";

// These two run SQL of their own with whatever "=" the session's search_path has first, and some views call them.
#define LULL_RUNS_SQL "'pg_get_viewdef', 'pg_get_ruledef'"
#define LULL_SHADOWED_EQUALS                                                          \
    "EXISTS (SELECT FROM pg_catalog.pg_operator q WHERE q.oid >= 16384 AND q.oprname = '='" \
    " AND (q.oprleft IN ('oid'::regtype, 'name'::regtype) OR q.oprright IN ('oid'::regtype, 'name'::regtype)))"

// What it is by itself: h(armless), s: see its source, u(nknown). (A range type's constructors depend on it
// internally.)
constexpr char const* functions_sql = R"sql(
SELECT p.oid, n.nspname, p.proname,
  CASE
    WHEN p.proconfig IS NOT NULL THEN 'u'
    WHEN p.prokind = 'a' THEN 'h'
    WHEN p.provolatile = 'v' OR p.prokind = 'p' THEN 'u'
    WHEN l.lanname IN ('c', 'internal') THEN CASE WHEN EXISTS (
      SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND (e.deptype = 'e'
        OR e.deptype = 'i' AND l.lanname = 'internal' AND e.refclassid = 'pg_type'::regclass)
    ) THEN 'h' ELSE 'u' END
    WHEN l.lanname NOT IN ('sql', 'plpgsql') OR length(p.prosrc) > 32768 THEN 'u'
    WHEN to_jsonb(p) -> 'prosqlbody' <> 'null' THEN 'h'
    ELSE 's'
  END,
  a.alone AND coalesce(t.typtype IN ('c', 'p'), true),
  CASE WHEN l.lanname IN ('sql', 'plpgsql') AND length(p.prosrc) <= 32768 THEN p.prosrc END,
  a.alone
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_type t ON t.oid = p.proargtypes[0]
CROSS JOIN LATERAL (SELECT p.provariadic <> 0 OR p.pronargs > 0 AND p.pronargs - p.pronargdefaults <= 1) a(alone)
WHERE p.oid >= 16384 OR p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ()sql" LULL_RUNS_SQL
    ") AND " LULL_SHADOWED_EQUALS;

constexpr char const* others_sql = R"sql(
SELECT 'r', c.oid, n.nspname, c.relname, CASE WHEN c.relkind = 'f' OR c.oid < 16384 AND c.relkind = 'v'
    AND c.relname IN ('pg_views', 'pg_matviews', 'pg_rules', 'views') AND )sql" LULL_SHADOWED_EQUALS R"sql(
    THEN 'u' ELSE 'h' END, c.relkind = 'S'
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'v' OR c.relkind IN ('r', 'm', 'f', 'p', 'S') AND c.relpersistence <> 't'
UNION ALL SELECT 'o', o.oid, n.nspname, o.oprname, 'h', false
  FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid >= 16384
UNION ALL SELECT 't', t.oid, n.nspname, t.typname, 'h', false
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid >= 16384 AND n.nspname <> 'pg_toast')sql";

// pg_depend tells of all that does not come with the server. Only what is done on reading counts: no
// triggers, defaults, rules of INSERT. Of indexes, CHECK constraints, statistics and partition keys the planner
// may compute constant parts; it asks a range type for the difference of two values. A constant that is compared
// with a column, or with a whole row, is read as that type is, and domains within it check it.
constexpr char const* edges_sql = R"sql(
WITH source(kind, oid, class, obj) AS (
  SELECT 'r', w.ev_class, 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
    WHERE w.oid >= 16384 AND w.ev_type = '1' AND c.relkind = 'v'
  UNION ALL SELECT 'r', p.polrelid, 'pg_policy'::regclass, p.oid FROM pg_policy p
    JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity
  UNION ALL SELECT 'r', i.indrelid, 'pg_class'::regclass, i.indexrelid FROM pg_index i
    WHERE i.indexrelid >= 16384 AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
  UNION ALL SELECT 'r', k.conrelid, 'pg_constraint'::regclass, k.oid FROM pg_constraint k
    WHERE k.contype = 'c' AND k.conrelid <> 0
  UNION ALL SELECT 'r', x.stxrelid, 'pg_statistic_ext'::regclass, x.oid FROM pg_statistic_ext x
  UNION ALL SELECT 'r', k.partrelid, 'pg_class'::regclass, k.partrelid FROM pg_partitioned_table k
    WHERE k.partexprs IS NOT NULL
  UNION ALL SELECT 't', k.contypid, 'pg_constraint'::regclass, k.oid FROM pg_constraint k
    WHERE k.contype = 'c' AND k.contypid <> 0
  UNION ALL SELECT 'r', d.adrelid, 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated NOT IN ('', 's')
  UNION ALL SELECT 'f', p.oid, 'pg_proc'::regclass, p.oid FROM pg_proc p WHERE p.oid >= 16384
), classes(class, kind) AS (VALUES
  ('pg_proc'::regclass, 'f'), ('pg_class'::regclass, 'r'), ('pg_operator'::regclass, 'o'), ('pg_type'::regclass, 't'))
SELECT s.kind, s.oid, c.kind, d.refobjid FROM source s
  JOIN pg_depend d ON d.classid = s.class AND d.objid = s.obj AND d.deptype = 'n' AND d.refobjid >= 16384
  JOIN classes c ON c.class = d.refclassid
UNION SELECT 'o', oid, 'f', oprcode FROM pg_operator WHERE oid >= 16384 AND oprcode >= 16384
UNION SELECT 't', oid, 't', typbasetype FROM pg_type WHERE oid >= 16384 AND typbasetype >= 16384
UNION SELECT 't', oid, 't', typelem FROM pg_type WHERE oid >= 16384 AND typelem >= 16384
UNION SELECT 't', rngtypid, 'f', rngsubdiff FROM pg_range WHERE rngtypid >= 16384 AND rngsubdiff >= 16384
UNION SELECT 't', rngtypid, 'f', rngcanonical FROM pg_range WHERE rngtypid >= 16384 AND rngcanonical >= 16384
UNION SELECT 't', rngtypid, 't', rngsubtype FROM pg_range WHERE rngtypid >= 16384 AND rngsubtype >= 16384
UNION SELECT 't', (to_jsonb(r) ->> 'rngmultitypid')::oid, 't', rngtypid FROM pg_range r WHERE rngtypid >= 16384
UNION SELECT 'r', oid, 't', reltype FROM pg_class WHERE oid >= 16384 AND reltype <> 0
UNION SELECT 'r', i.inhparent, 'r', i.inhrelid FROM pg_inherits i
UNION SELECT 'r', i.inhrelid, 'r', i.inhparent FROM pg_inherits i
  JOIN pg_partitioned_table k ON k.partrelid = i.inhparent AND k.partexprs IS NOT NULL
UNION SELECT 't', c.reltype, 't', a.atttypid FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.atttypid >= 16384 AND a.attnum > 0
  WHERE c.oid >= 16384 AND c.reltype <> 0)sql";

// pg_depend does not tell of what comes with the server; the expressions themselves do, by OID. Functions
// with an argument of type internal are called by the server only.
constexpr char const* builtins_sql = R"sql(
WITH tree(kind, oid, text) AS (
  SELECT 'r', w.ev_class, w.ev_action::text FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
    WHERE w.oid >= 16384 AND w.ev_type = '1' AND c.relkind = 'v'
  UNION ALL SELECT 'r', p.polrelid, p.polqual::text FROM pg_policy p
    JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity
  UNION ALL SELECT 'r', i.indrelid, concat(i.indexprs::text, i.indpred::text) FROM pg_index i
    WHERE i.indexrelid >= 16384 AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
  UNION ALL SELECT 'r', stxrelid, to_jsonb(x) ->> 'stxexprs' FROM pg_statistic_ext x
  UNION ALL SELECT 'r', partrelid, partexprs::text FROM pg_partitioned_table
  UNION ALL SELECT CASE WHEN conrelid <> 0 THEN 'r' ELSE 't' END, greatest(conrelid, contypid), conbin::text
    FROM pg_constraint WHERE contype = 'c'
  UNION ALL SELECT 'r', d.adrelid, d.adbin::text FROM pg_attrdef d
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated NOT IN ('', 's')
  UNION ALL SELECT 'f', p.oid, concat(p.proargdefaults::text, to_jsonb(p) ->> 'prosqlbody') FROM pg_proc p
    WHERE p.oid >= 16384 AND (p.proargdefaults IS NOT NULL OR to_jsonb(p) -> 'prosqlbody' <> 'null')
), used(kind, oid, fn) AS (
  SELECT kind, oid, m[1]::oid FROM tree, regexp_matches(text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') m
  UNION SELECT 'o', oid, oprcode FROM pg_operator WHERE oid >= 16384
  UNION SELECT 'f', a.aggfnoid, f FROM pg_aggregate a, unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
    a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) f WHERE a.aggfnoid >= 16384
)
SELECT DISTINCT u.kind, u.oid, p.proname FROM used u
  JOIN pg_proc p ON p.oid = u.fn AND p.oid < 16384 AND NOT 'internal'::regtype = ANY (p.proargtypes))sql";

constexpr char const* nameless_sql =
    "SELECT castfunc FROM pg_cast WHERE castfunc >= 16384"
    " UNION SELECT amproc FROM pg_amproc WHERE amproc >= 16384"
    " UNION SELECT o.oprcode FROM pg_amop a JOIN pg_operator o ON o.oid = a.amopopr AND o.oprcode >= 16384"
    " UNION SELECT o.oprcode FROM pg_operator o WHERE o.oprcode >= 16384 AND o.oprname IN ('=', '<>')"
    " UNION SELECT unnest(ARRAY[typinput, typoutput]) FROM pg_type WHERE oid >= 16384"
    " UNION SELECT t.typsend FROM pg_type t JOIN pg_proc p ON p.oid = t.typsend"
    " JOIN pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('c', 'internal') WHERE t.oid >= 16384";

constexpr char const* privileged_sql = R"sql(
SELECT r.rolname FROM pg_roles r WHERE r.rolcanlogin AND (r.rolsuper OR r.rolreplication OR EXISTS (
  SELECT FROM pg_roles x WHERE (x.rolsuper OR x.rolname IN ('pg_read_server_files', 'pg_write_server_files',
    'pg_execute_server_program', 'pg_signal_backend', 'pg_checkpoint', 'pg_create_subscription', 'pg_maintain'))
  AND pg_has_role(r.oid, x.oid, 'MEMBER'))))sql";

catalog_object::kind kind_of(std::string const& letter) {
    switch (letter.empty() ? ' ' : letter.front()) {
        case 'f':
            return catalog_object::kind::function;
        case 'o':
            return catalog_object::kind::op;
        case 't':
            return catalog_object::kind::type;
        default:
            return catalog_object::kind::relation;
    }
}

catalog_object::nature nature_of(std::string const& letter) {
    if (letter == "h") return catalog_object::nature::harmless;
    return letter == "s" ? catalog_object::nature::by_source : catalog_object::nature::unknown;
}

std::uint32_t number(std::string const& text) {
    std::uint32_t n = 0;
    std::from_chars(text.data(), text.data() + text.size(), n);
    return n;
}

class reading {
  public:
    reading(pg_conn* connection, std::string& error) : connection_(connection), error_(error) {}

    template <class Fn>
    void rows(char const* sql, Fn fn) {
        if (!error_.empty()) return;
        pg_result const r = pg_query(connection_, sql, {}, read_timeout);
        error_ = r.error();
        for (int i = 0; i < r.rows(); ++i) fn(r, i);
    }

    void everything(routing::catalog_rows& out) {
        rows(functions_sql, [&](pg_result const& r, int i) {
            out.objects.push_back({catalog_object::kind::function, number(r.text(i, 0)), r.text(i, 1),
                                   r.text(i, 2), nature_of(r.text(i, 3)), r.text(i, 4) == "t",
                                   r.null(i, 5) ? std::string() : r.text(i, 5), r.text(i, 6) == "t"});
        });
        rows(others_sql, [&](pg_result const& r, int i) {
            out.objects.push_back({.what = kind_of(r.text(i, 0)),
                                   .oid = number(r.text(i, 1)),
                                   .schema = r.text(i, 2),
                                   .name = r.text(i, 3),
                                   .is = nature_of(r.text(i, 4)),
                                   .source = {},
                                   .sequence = r.text(i, 5) == "t"});
        });
        rows(edges_sql, [&](pg_result const& r, int i) {
            out.edges.push_back(
                {kind_of(r.text(i, 0)), number(r.text(i, 1)), kind_of(r.text(i, 2)), number(r.text(i, 3))});
        });
        rows(builtins_sql, [&](pg_result const& r, int i) {
            out.builtins.push_back({kind_of(r.text(i, 0)), number(r.text(i, 1)), r.text(i, 2)});
        });
        rows(nameless_sql, [&](pg_result const& r, int i) { out.nameless.push_back(number(r.text(i, 0))); });
        rows(privileged_sql, [&](pg_result const& r, int i) { out.privileged.push_back(r.text(i, 0)); });
        rows("SELECT extname FROM pg_extension ORDER BY 1",
             [&](pg_result const& r, int i) { out.extensions.push_back(r.text(i, 0)); });
    }

  private:
    pg_conn* connection_;
    std::string& error_;
};

}  // namespace

catalog_moment read_moment(pg_conn* connection) {
    pg_result const r = pg_query(connection, moment_sql);
    if (r.rows() != 1) return {};
    return {r.text(0, 0), r.null(0, 1) ? "" : r.text(0, 1)};
}

std::optional<std::string> catalog_digest(pg_conn* connection, std::string& error) {
    pg_result const r = pg_query(connection, digest_sql);
    if (r.rows() == 1) return r.text(0, 0);
    error = r.error();
    return std::nullopt;
}

std::optional<routing::catalog_rows> read_catalog(pg_conn* connection, std::size_t most, std::string& error) {
    routing::catalog_rows out;
    error.clear();
    reading read(connection, error);
    read.rows("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", [](pg_result const&, int) {});
    std::size_t objects = 0;
    read.rows(count_sql, [&](pg_result const& r, int i) { objects = number(r.text(i, 0)); });
    if (error.empty() && objects > most)
        error = "it has " + std::to_string(objects) +
                " functions and relations, more than limits.max_catalog_objects (" + std::to_string(most) +
                ")";
    if (error.empty()) read.everything(out);
    pg_query(connection, "ROLLBACK");
    if (!error.empty()) return std::nullopt;
    return out;
}

}  // namespace lull
