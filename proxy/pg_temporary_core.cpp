// Temporary tables that a session had before its site was closed (guard.temporary_tables). A READ ONLY transaction
// lets it write to them, and to nothing else; but what is to stay written must be committed, and a transaction of ours
// that is committed must not have run anything that could have left READ ONLY. So nothing unknown may run in it, and
// the tables themselves must not be able to.
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

namespace {

/// Fails where a temporary table of the session could run code of a user's, or reach outside: foreign tables,
/// triggers, rules, policies; defaults, checks and indexes with anything but functions that came with the server and
/// are not volatile (nextval, of which READ ONLY lets pass those of temporary sequences, clock_timestamp, random and
/// gen_random_uuid, by their OIDs, are harmless); types that are neither the server's, nor enumerations, nor an
/// extension's own. Constraints that are checked at COMMIT would fail behind what the client was told. All names are
/// written out, because the session's search_path may have others first. (16384: FirstNormalObjectId.)
constexpr std::string_view check_sql = R"sql(SELECT 1 OPERATOR(pg_catalog./) CASE WHEN EXISTS (
SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() AND (
 c.relkind OPERATOR(pg_catalog.=) 'f' OR c.relrowsecurity
 OR EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal)
 OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w
  WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid AND w.ev_type OPERATOR(pg_catalog.<>) '1')
 OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid AND k.condeferrable)
 OR EXISTS (SELECT FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) a.atttypid
  LEFT JOIN pg_catalog.pg_type e ON e.oid OPERATOR(pg_catalog.=) y.typelem AND y.typcategory OPERATOR(pg_catalog.=) 'A'
  WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
  AND COALESCE(e.oid, y.oid) OPERATOR(pg_catalog.>=) 16384
  AND COALESCE(e.typtype, y.typtype) OPERATOR(pg_catalog.<>) 'e'
  AND NOT (COALESCE(e.typtype, y.typtype) OPERATOR(pg_catalog.=) 'b' AND EXISTS (
   SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 1247
   AND d.objid OPERATOR(pg_catalog.=) COALESCE(e.oid, y.oid) AND d.deptype OPERATOR(pg_catalog.=) 'e')))
 OR EXISTS (SELECT FROM (
   SELECT d.adbin::pg_catalog.text FROM pg_catalog.pg_attrdef d WHERE d.adrelid OPERATOR(pg_catalog.=) c.oid
   UNION ALL SELECT k.conbin::pg_catalog.text FROM pg_catalog.pg_constraint k
    WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid
   UNION ALL SELECT pg_catalog.concat(i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text)
    FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid) x(tree),
  pg_catalog.regexp_matches(x.tree, ':(funcid|opfuncid|opno|resulttype) ([0-9]+)', 'g') m(f)
  WHERE CASE WHEN f[1] OPERATOR(pg_catalog.=) ANY (ARRAY['opno', 'resulttype']::pg_catalog.text[])
   THEN f[2]::pg_catalog.int8 OPERATOR(pg_catalog.>=) 16384
   ELSE f[2] OPERATOR(pg_catalog.<>) '0' AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p
    WHERE p.oid OPERATOR(pg_catalog.=) f[2]::pg_catalog.oid AND p.oid OPERATOR(pg_catalog.<) 16384
    AND (p.provolatile OPERATOR(pg_catalog.<>) 'v'
     OR p.oid OPERATOR(pg_catalog.=) ANY (ARRAY[1574, 2649, 1598, 3432]::pg_catalog.oid[]))) END)))
THEN 0 ELSE 1 END)sql";

}  // namespace

/// Once in a transaction, ahead of its first write to temporary tables. True: the unit comes again when the server
/// has answered, or is refused.
bool pg_session_core::checks_temporary_first(routing::operation const& op, session_step& step) {
    if (read_write() || temporary_checked_ || segment_open_ || !in_guard() || server_->status != 'T') return false;
    routing::session_facts const now = facts();
    auto const at = std::ranges::find_if(
        op.statements, [&](routing::statement const& s) { return routing::writes_temporary(s, now); });
    if (at == op.statements.end()) return false;
    if (!server_->owed.empty()) {
        blocked_ = blocked::barrier;
        return true;
    }
    owed_reply& owed = send_own_query(check_sql, step);
    owed.opens = true;
    owed.text = temporary_refusal(site(), refusal_code(), at->command);
    blocked_ = blocked::settings;
    return true;
}

/// Of what is about to be sent.
void pg_session_core::note_purity(routing::operation const& op) {
    // Also when the site is opened meanwhile: it may be closed again before this transaction ends.
    if ((read_write() && !in_guard()) || identity_.migration) return;
    if (op.access < routing::access::unknown || discards_notify(op)) return;
    wrote_nothing_ = false;
    routing::session_facts const now = facts();
    bool const keeps = std::ranges::any_of(
        op.statements, [&](routing::statement const& s) { return routing::writes_temporary(s, now); });
    (keeps ? temporary_written_ : called_unknown_) = true;
    // What it may have prepared under our names must not run in a transaction that is committed.
    if (called_unknown_ && site().settings->guard.temporary_tables == config::temporary_policy::write)
        server_->certain_in.reset();
}

}  // namespace lull
