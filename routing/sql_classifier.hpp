// Text -> operation: exact-text cache, then literal-free cache, then a guarded parse by PostgreSQL 15's own
// grammar.
//
// Owned by a worker and used on its thread only; no locks. Never throws on data: whatever cannot be
// understood is one statement of kind and access `unknown`, which everybody treats as a write. The server
// stays the judge of syntax.
//
// What a parser cannot see, and the catalog must tell (fact_resolver): what lies behind a view, rule, policy, default,
// foreign table, cast, operator, domain or trigger; a function called in attribute notation (`row.f`); and
// which function an unqualified name means when search_path or a temporary schema shadows pg_catalog. `read`
// is therefore "reads, as far as the text says". PREPARE, EXPLAIN and Bind already plan, which runs immutable
// functions.
//
// Kinds and access, beyond operation.hpp:
//   SELECT of a denied function (nextval, lo_*, ...)  select, write, command "nextval()"
//   SELECT of advisory locks                          select, session; pins unless they end with the
//   transaction EXPLAIN without ANALYZE of anything but a read    explain, unknown (planning may run
//   functions) EXPLAIN ANALYZE                                   of a read: explain; otherwise as what it
//   runs COPY ... TO STDOUT                                copy_out, access of its query PREPARE at least
//   session; access, command of the statement inside RESET and set_config() of transaction_* set_transaction;
//   to_default when it resets SET SESSION CHARACTERISTICS                       set; name is the first
//   default_transaction_* that it sets, `begin` has all
// `command` is filled for every statement that was understood.
#pragma once

#include "routing/operation.hpp"
#include "routing/recent_shapes.hpp"
#include "routing/verdict_cache.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lull::routing {

/// What the session knows about how its server reads text.
struct text_facts {
    bool standard_conforming_strings = true;
    /// client_encoding is SJIS, BIG5, GBK, UHC, GB18030, JOHAB or SHIFT_JIS_2004: a second byte may be ASCII.
    bool unsafe_encoding = false;

    bool operator==(text_facts const&) const = default;
};

struct classifier_limits {
    std::size_t max_parse_bytes = 16 * 1024;  // longer text is unknown; bounds one parse to about 2 ms
    std::size_t max_depth = 1000;             // of the parse tree; a level costs about 200 bytes of stack
    std::size_t cache_entries = 4096;
    std::size_t cache_bytes = 4 * 1024 * 1024;
    std::size_t max_key_bytes = 4 * 1024;  // texts with longer keys are parsed each time
    std::uint64_t cache_seed = 0;          // of the cache's hash; 0: random
};

/// Counts of one classifier since it was made.
struct classifier_stats {
    std::uint64_t exact_hits = 0;
    std::uint64_t normalised_hits = 0;
    std::uint64_t parses = 0;
    std::uint64_t syntax_errors = 0;
    std::uint64_t guard_trips = 0;
    std::uint64_t too_long = 0;
    std::uint64_t too_deep = 0;
    std::uint64_t unsafe_text = 0;  // refused for encoding or standard_conforming_strings
    std::uint64_t parsed_bytes = 0;
    std::uint64_t longest_parse = 0;  // in bytes
};

class sql_classifier {
  public:
    explicit sql_classifier(classifier_limits limits = {});
    sql_classifier(sql_classifier const&) = delete;
    sql_classifier& operator=(sql_classifier const&) = delete;

    /// Never null. The reference lives until the next call; copy the pointer to keep the operation (it is
    /// immutable and may be shared by threads). statement.offset and .length are 0 and 0, the whole text, for
    /// a text of one SELECT, INSERT, UPDATE, DELETE or MERGE: such verdicts are shared by texts that differ
    /// in their constants.
    std::shared_ptr<operation const> const& classify(std::string_view sql, text_facts facts = {});

    classifier_stats const& stats() const { return stats_; }
    std::size_t cached() const { return cache_.size(); }

  private:
    std::shared_ptr<operation const> const& refused(why reason);
    std::shared_ptr<operation const> const& parse(std::string_view sql, std::string_view normal_key);
    std::shared_ptr<operation const> const* find_exact(std::string_view sql, std::uint64_t hash);

    classifier_limits limits_;
    classifier_stats stats_;
    verdict_cache cache_;
    recent_shapes shapes_;
    std::string text_;       // the statement with its terminator, for the parser
    std::vector<char> key_;  // the literal-free text of the current call
    std::array<std::shared_ptr<operation const>, 8> refusals_;  // by `why`
    std::shared_ptr<operation const> uncached_;
    static constexpr std::uint32_t most_vain_looks = 64;
    std::uint32_t vain_looks_ = 0;  // of late, for texts as they are that turned out to be known by their form
    std::uint32_t turn_ = 0;
};

/// Parses fixed statements and compares. Run once at start-up: the classifier reads structures of libpg_query
/// that no header of it promises. On false the process must not serve; `what_failed` names the statement.
[[nodiscard]] bool sql_self_test(std::string& what_failed);

/// May a client set this while its site is sealed? An allow-list; `name` in lower case. True only for
/// parameters that change neither what is written nor how text is read. A reset is judged with the value "".
[[nodiscard]] bool is_harmless_setting(std::string_view name, std::string_view value);

/// A variable whose elements are names, and are kept quoted (GUC_LIST_QUOTE), as search_path.
[[nodiscard]] bool is_list_of_names(std::string_view setting);

}  // namespace lull::routing
