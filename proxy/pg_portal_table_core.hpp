// What the portals of one client run, by the names that its server tells them apart by. Values only; owned by a session
// of one server connection, used on its worker's thread.
//
// Where a portal is in this table its server has either the same one or, for a while, none: what a transaction, a
// savepoint or SQL's CLOSE has ended may be left in it. Cursors that SQL has made are not in it.
#pragma once

#include "proxy/pg_prepared_core.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace lull {

/// PostgreSQL tells portals, and prepared statements, apart by so many bytes of their names (NAMEDATALEN - 1; the keys
/// of its hash tables are cut there, also within a character).
inline constexpr std::size_t known_name_bytes = 63;

inline std::string_view known_name(std::string_view name) {
    return name.substr(0, known_name_bytes);
}

/// Whether that is the same for server and client. What is not ASCII is cut when it has been converted from the
/// client's encoding, in which two names may be one.
bool is_certain_name(std::string_view name);

struct bound_portal {
    prepared statement;           // null: there is none
    char const* retag = nullptr;  // CommandComplete of its Execute goes out with this tag; static storage
    bool guarded = false;         // what stands for it was chosen inside our READ ONLY transaction
    std::uint32_t meaning = 0;    // of what was bound, in the statement_book; 0: it has no name, and was not described
};

/// What a Bind or a Close has changed: what there was before, for where the server fails or skips it.
struct portal_change {
    std::string name;
    bound_portal before;
};

/// Names are cut already.
class portal_table {
  public:
    /// null: there is none
    bound_portal const* find(std::string_view name) const;
    /// Null for the unnamed one: where its Bind fails, or is skipped, nobody is to know what it is.
    std::unique_ptr<portal_change> bind(std::string_view name, bound_portal what);
    std::unique_ptr<portal_change> close(std::string_view name);
    void undo(portal_change change);
    void drop_unnamed() {
        if (unnamed_.statement) unnamed_.statement.reset();
    }
    void clear() {
        drop_unnamed();
        if (named_) named_.reset();
    }

  private:
    using by_name = std::map<std::string, bound_portal, std::less<>>;
    by_name& named() {
        if (!named_) named_ = std::make_unique<by_name>();
        return *named_;
    }

    bound_portal unnamed_;
    std::unique_ptr<by_name> named_;  // few clients give portals names
};

}  // namespace lull
