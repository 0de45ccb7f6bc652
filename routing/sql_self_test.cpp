// The start-up check that the layouts which sql_walk.c reads are those of the libpg_query at hand. Each
// statement makes the walk read fields whose neighbours would give another answer.
#include "routing/sql_classifier.hpp"

namespace lull::routing {
namespace {

using k = statement_kind;
using a = access;

struct fixed {
    char const* sql;
    k kind;
    a strictest;
    char const* command;
    char const* name = "";
    char const* function = "";
    bool pins = false;
};

constexpr fixed statements[] = {
    {"SELECT 1", k::select, a::read, "SELECT"},
    {"VALUES (1, lower('x')), (2, upper('y'))", k::select, a::read, "SELECT"},
    {"TABLE t ORDER BY a USING OPERATOR(s.<)", k::select, a::unknown, "SELECT", "", "<"},
    {"SELECT DISTINCT ON (nosuch(a)) a FROM t", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT a FROM t WHERE b = nextval('s')", k::select, a::write, "nextval()", "", "nextval"},
    {"SELECT a FROM t GROUP BY ROLLUP (nosuch(a))", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT 1 FROM t HAVING nosuch(1)", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT sum(a) FILTER (WHERE nosuch(a)) FROM t", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT rank() OVER w FROM t WINDOW w AS (PARTITION BY nosuch(a))", k::select, a::unknown, "SELECT", "",
     "nosuch"},
    {"SELECT 1 LIMIT nosuch(1)", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT 1 OFFSET nosuch(1)", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT 1 UNION ALL (SELECT 2 EXCEPT SELECT nosuch(3))", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT CASE a WHEN 1 THEN 2 ELSE nosuch(3) END FROM t", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT (ARRAY[1, 2])[nosuch(1)]", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT COALESCE(1, GREATEST(2, nosuch(3)))", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT 1 FROM a JOIN b ON nosuch(a.x) LEFT JOIN c USING (y)", k::select, a::unknown, "SELECT", "",
     "nosuch"},
    {"SELECT * FROM ROWS FROM (nosuch(1) AS (x int))", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT * FROM t TABLESAMPLE nosuch (1)", k::select, a::unknown, "SELECT", "", "nosuch"},
    {"SELECT EXISTS (SELECT 1 FROM t FOR NO KEY UPDATE)", k::dml, a::write, "SELECT FOR NO KEY UPDATE"},
    {"WITH x AS (WITH y AS (DELETE FROM t RETURNING 1) SELECT 1) SELECT 1", k::dml, a::write, "SELECT"},
    {"SELECT 1 INTO TEMP x UNION SELECT 2", k::dml, a::write, "SELECT INTO", "", "", true},
    {"SELECT pg_advisory_lock(1)", k::select, a::session, "SELECT", "", "", true},
    {"SELECT set_config('Work_Mem', '1MB', false)", k::set, a::session, "SELECT", "work_mem"},
    {"INSERT INTO t SELECT pg_advisory_lock(1)", k::dml, a::write, "INSERT", "", "", true},
    {"UPDATE t SET a = 1", k::dml, a::write, "UPDATE"},
    {"MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", k::dml, a::write, "MERGE"},
    {"EXPLAIN (VERBOSE, ANALYZE) DELETE FROM t", k::dml, a::write, "DELETE"},
    {"EXPLAIN DELETE FROM t", k::explain, a::unknown, "EXPLAIN"},
    {"COPY t TO STDOUT", k::copy_out, a::read, "COPY TO"},
    {"COPY t FROM STDIN", k::copy_in, a::write, "COPY FROM"},
    {"COPY t TO PROGRAM 'x'", k::utility, a::write, "COPY TO"},
    {"START TRANSACTION READ ONLY", k::begin, a::session, "START TRANSACTION"},
    {"ROLLBACK TO SAVEPOINT p", k::rollback_to, a::session, "ROLLBACK", "p"},
    {"PREPARE TRANSACTION 'g'", k::prepare_transaction, a::write, "PREPARE TRANSACTION", "g"},
    {"SET LOCAL TIME ZONE 'UTC'", k::set, a::session, "SET", "timezone"},
    {"RESET TRANSACTION_READ_ONLY", k::set_transaction, a::session, "RESET", "transaction_read_only"},
    {"DISCARD TEMP", k::discard, a::session, "DISCARD TEMP", "TEMP"},
    {"PREPARE p AS SELECT 1", k::prepare, a::session, "PREPARE", "p"},
    {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", k::declare_cursor, a::read, "DECLARE CURSOR", "c", "", true},
    {"MOVE 1 IN c", k::fetch, a::session, "MOVE", "c"},
    {"NOTIFY n", k::notify, a::write, "NOTIFY", "n"},
    {"CREATE TEMP VIEW v AS SELECT 1", k::ddl, a::write, "CREATE VIEW", "", "", true},
    {"ALTER INDEX i RENAME TO j", k::ddl, a::write, "ALTER INDEX"},
    {"DROP MATERIALIZED VIEW v", k::ddl, a::write, "DROP MATERIALIZED VIEW"},
    {"CREATE PROCEDURE p() LANGUAGE sql AS ''", k::ddl, a::write, "CREATE PROCEDURE"},
    {"VACUUM t", k::utility, a::write, "VACUUM"},
    {"ANALYZE t", k::utility, a::write, "ANALYZE"},
};

bool as_expected(operation const& op, fixed const& want) {
    if (op.statements.size() != 1) return false;
    statement const& s = op.statements[0];
    return s.kind == want.kind && s.access == want.strictest && op.access == want.strictest &&
           s.command == want.command && s.name == want.name && op.function == want.function &&
           s.pins == want.pins;
}

}  // namespace

bool sql_self_test(std::string& what_failed) {
    sql_classifier classifier(
        {.cache_entries = 4, .cache_bytes = 0, .cache_seed = 1});
    for (fixed const& want : statements) {
        if (as_expected(*classifier.classify(want.sql), want)) continue;
        what_failed = want.sql;
        return false;
    }
    // Several statements, their places, and the options of BEGIN.
    auto const several =
        classifier.classify("BEGIN ISOLATION LEVEL SERIALIZABLE, READ WRITE;COMMIT AND CHAIN; SELECT 1");
    auto const& s = several->statements;
    bool const good = s.size() == 3 && several->transaction_control &&
                      s[0].begin.isolation == isolation::serializable && s[0].begin.read_only == false &&
                      s[1].chain && s[1].offset == 47 && s[1].length == 16 && s[2].kind == k::select &&
                      s[2].length == 0 && several->access == a::session;
    if (!good) what_failed = "BEGIN; COMMIT AND CHAIN; SELECT";
    return good;
}

}  // namespace lull::routing
