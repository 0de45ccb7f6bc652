// Which parameters a client may set while its site is sealed: declared with the classifier, which names them.
#include "routing/sql_classifier.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace lull::routing {
namespace {

// Sorted. Nothing here changes what a statement writes, whether it may write, or how text is read.
constexpr std::string_view harmless[] = {
    "application_name",
    "array_nulls",
    "backend_flush_after",
    "bytea_output",
    "check_function_bodies",
    "client_connection_check_interval",
    "client_min_messages",
    "constraint_exclusion",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "cursor_tuple_fraction",
    "datestyle",
    "deadlock_timeout",
    "debug_parallel_query",
    "default_statistics_target",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "default_toast_compression",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "effective_cache_size",
    "effective_io_concurrency",
    "escape_string_warning",
    "extra_float_digits",
    "force_parallel_mode",
    "from_collapse_limit",
    "geqo",
    "geqo_effort",
    "geqo_generations",
    "geqo_pool_size",
    "geqo_seed",
    "geqo_selection_bias",
    "geqo_threshold",
    "gin_fuzzy_search_limit",
    "hash_mem_multiplier",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "jit_above_cost",
    "jit_expressions",
    "jit_inline_above_cost",
    "jit_optimize_above_cost",
    "jit_tuple_deforming",
    "join_collapse_limit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "min_parallel_index_scan_size",
    "min_parallel_table_scan_size",
    "parallel_leader_participation",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "plan_cache_mode",
    "quote_all_identifiers",
    "random_page_cost",
    "recursive_worktable_factor",
    "restrict_nonsystem_relation_kind",
    "role",
    "row_security",
    "search_path",
    "seed",
    "seq_page_cost",
    "statement_timeout",
    "stats_fetch_consistency",
    "synchronize_seqscans",
    "synchronous_commit",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
    "temp_buffers",
    "temp_file_limit",
    "temp_tablespaces",
    "timezone",
    "timezone_abbreviations",
    "transaction_timeout",
    "work_mem",
    "xmlbinary",
    "xmloption",
};
static_assert(std::is_sorted(std::begin(harmless), std::end(harmless)));

// Folded as PostgreSQL does: letters and digits only. No encoding here has a second byte below 0x80.
constexpr std::string_view safe_encodings[] = {
    "abc",         "alt",         "euccn",       "eucjis2004",  "eucjp",       "euckr",       "euctw",
    "iso88591",    "iso885910",   "iso885913",   "iso885914",   "iso885915",   "iso885916",   "iso88592",
    "iso88593",    "iso88594",    "iso88595",    "iso88596",    "iso88597",    "iso88598",    "iso88599",
    "koi8",        "koi8r",       "koi8u",       "latin1",      "latin10",     "latin2",      "latin3",
    "latin4",      "latin5",      "latin6",      "latin7",      "latin8",      "latin9",      "sqlascii",
    "tcvn",        "tcvn5712",    "unicode",     "utf8",        "vscii",       "win",         "win1250",
    "win1251",     "win1252",     "win1253",     "win1254",     "win1255",     "win1256",     "win1257",
    "win1258",     "win866",      "win874",      "windows1250", "windows1251", "windows1252", "windows1253",
    "windows1254", "windows1255", "windows1256", "windows1257", "windows1258", "windows866",  "windows874"};

std::string folded(std::string_view value, bool alphanumeric_only) {
    std::string out;
    for (char c : value) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        bool const alphanumeric = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (alphanumeric || !alphanumeric_only) out.push_back(c);
    }
    return out;
}

bool is_on(std::string_view value) {
    std::string const v = folded(value, false);
    return v == "on" || v == "true" || v == "yes" || v == "1" || v == "t" || v == "y";
}

}  // namespace

bool is_harmless_setting(std::string_view name, std::string_view value) {
    if (name == "client_encoding") {
        std::string const encoding = folded(value, true);
        return std::find(std::begin(safe_encodings), std::end(safe_encodings), encoding) !=
               std::end(safe_encodings);
    }
    if (name == "standard_conforming_strings" || name == "default_transaction_read_only") return is_on(value);
    if (name.find('.') != std::string_view::npos) return true;  // an extension's or an application's own
    if (name.starts_with("enable_")) return true;               // planner methods
    return std::binary_search(std::begin(harmless), std::end(harmless), name);
}

}  // namespace lull::routing
