// Prepared statements as text: what clients call by their own names, servers know by ours. A text is kept
// once a worker, however many clients prepared it. Used on its worker's thread only.
#pragma once

#include "routing/operation.hpp"

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lull {

/// What a server has said of a statement when it was described. A session of PostgreSQL holds to that, whatever becomes of
/// its tables: other columns are an error, "cached plan must not change result type".
struct told_shape {
    std::uint64_t parameters = 0;  // a number for their types; 0: not told
    std::uint64_t columns = 0;     // pg::parse_row_shape(); 0: not told
};
/// Of what has no result.
inline constexpr std::uint64_t no_columns = 1;

struct prepared_text {
    std::uint64_t id = 0;
    std::string text;
    std::string types;        // parameter type OIDs as on the wire, four bytes each
    std::string server_name;  // what servers know it by
    std::shared_ptr<routing::operation const> operation;  // what it is to execute it
    bool alone = false;   // of one Parse or PREPARE: it has literals that are of that moment
    bool by_sql = false;  // `text` is a PREPARE, which makes it under the name that it says: server_name
};

using prepared = std::shared_ptr<prepared_text const>;

/// What limits count of it.
inline std::size_t bytes_of(prepared_text const& what) { return what.text.size() + what.types.size(); }

class prepared_store {
  public:
    /// `prefix`: of the names that servers know its statements by.
    explicit prepared_store(std::string prefix = "lull_") : prefix_(std::move(prefix)) {}
    std::string const& prefix() const { return prefix_; }
    /// `context`: what else decides how a server reads the text. Statements of other contexts are others,
    /// since literals are read when a statement is parsed.
    prepared intern(std::string_view text, std::string_view types, std::string_view context,
                    std::shared_ptr<routing::operation const> const& operation);
    /// The same where it is known already; null: it is not.
    prepared find(std::string_view text, std::string_view types, std::string_view context, routing::operation const& operation);
    /// What the SQL command PREPARE makes; `sql` is that command, and `operation` what executing it is.
    prepared intern_sql(std::string_view name, std::string_view sql, std::string_view context,
                        std::shared_ptr<routing::operation const> operation);
    /// The same for what nobody shares, and a client that prepares it again has twice.
    prepared make_alone(std::string_view text, std::string_view types, std::shared_ptr<routing::operation const> operation);
    prepared make_alone_sql(std::string_view name, std::string_view sql, std::shared_ptr<routing::operation const> operation);
    /// Who prepares this text from now gets another statement: servers have to read it anew.
    void forget(std::vector<prepared> what);
    std::size_t size() const { return known_.size(); }
    /// visit(text, how many have it)
    template <class Visit>
    void each(Visit&& visit) const {
        for (auto const& [key, weak] : known_)
            if (prepared const text = weak.lock())
                visit(*text, static_cast<std::size_t>(text.use_count() - 1));
    }

  private:
    prepared make(prepared_text text);
    prepared keep(std::weak_ptr<prepared_text const>& entry, prepared_text text);
    std::string const prefix_;
    std::unordered_map<std::string, std::weak_ptr<prepared_text const>> known_;
    std::size_t prune_at_ = 1024;
    std::size_t key_bytes_ = 0;  // of known_
    std::size_t prune_at_bytes_ = least_prune_bytes;
    static constexpr std::size_t least_prune_bytes = 16 * 1024 * 1024;
    std::uint64_t next_id_ = 1;
    std::string key_;  // of what was looked for last
};

/// Of what is made of a statement: a context that is its own where the statement is.
std::string context_within(prepared_text const& statement, std::string_view context);

/// Which texts one server connection has prepared, least recently used last.
class server_prepared {
  public:
    bool has(std::uint64_t id) const { return by_id_.contains(id); }
    /// What it has said of that since it was parsed. Null: it is not there.
    told_shape* use(std::uint64_t id);
    void add(prepared const& what);
    void add_all(server_prepared const& others);
    void remove(std::uint64_t id);
    void clear();
    std::size_t size() const { return by_id_.size(); }
    /// As bytes_of().
    std::size_t bytes() const { return bytes_; }
    prepared const& oldest() const { return order_.back().what; }
    /// What SQL's PREPARE has made under this name, or null. Looks through all.
    prepared named(std::string_view name) const;

  private:
    struct entry {
        prepared what;
        told_shape told = {};
    };
    std::list<entry> order_;
    std::size_t bytes_ = 0;
    std::unordered_map<std::uint64_t, std::list<entry>::iterator> by_id_;
};

}  // namespace lull
