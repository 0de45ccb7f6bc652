// What becomes of a write that may not run now: the site's rules, first match wins, else the site's `writes`.
// Pure values, any thread; asked only for what decide() has refused, so it is off the hot path of an open
// site.
#pragma once

#include "config/model.hpp"
#include "routing/operation.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lull::routing {

/// As rules name them.
enum class statement_class : std::uint8_t {
    insert,
    update,
    delete_,
    merge,
    select,  // FOR UPDATE, INTO, with a CTE that writes, of a function that is known to change something
    copy,    // FROM STDIN
    truncate,
    ddl,
    call,  // CALL, DO, EXECUTE
    utility,
    notify,
    listen,
    transaction,  // BEGIN READ WRITE, PREPARE TRANSACTION, COMMIT PREPARED
    setting,
    unknown,  // not understood; also fastpath calls
};

statement_class class_of(statement const& s);
std::string_view name_of(statement_class c);

struct written_table {
    std::string schema;  // empty: not qualified
    std::string name;
    friend bool operator==(written_table const&, written_table const&) = default;
};

/// What a text says about its writes, beyond its class. Parsed anew for each call.
struct write_target {
    bool tables_known = false;  // `tables` are all that are named as written
    std::vector<written_table> tables;
    /// One INSERT of VALUES, UPDATE or DELETE that gives no rows: the tag that PostgreSQL would answer. An
    /// INSERT says how many rows it brings; of an UPDATE or DELETE nobody can know without running it, and 1
    /// is told, which is what programs that address a row by its key wait for.
    std::optional<std::string> tag;
};

/// `text` has been classified: what was refused by the classifier's guard must not come here.
write_target find_target(std::string_view text);

struct write_source {
    std::string_view user;
    std::string_view application_name;
};

/// A write that may not run.
struct refused_write {
    operation const& what;
    std::string_view text;  // whole; empty: not known, and then no rule that asks for tables fits
    write_source from;
};

config::write_policy choose_action(config::site const& site, refused_write const& write);

/// The tag to answer with instead of running it, or nothing: its result is not ours to make up. Of autonomous
/// statements only: the caller knows that no transaction is around it.
std::optional<std::string> answer_of(refused_write const& write);

/// Whether `pass` may let it through: it stores nothing, and calls nothing that could.
bool stores_nothing(operation const& what);

/// `*` matches any text; everything else is itself.
bool wildcard_matches(std::string_view pattern, std::string_view text) noexcept;

}  // namespace lull::routing
