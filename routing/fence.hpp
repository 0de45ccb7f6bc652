// A fence on the server, for those who do not come through Lull: default_transaction_read_only is on for a
// site's databases while it is closed. Plain values and pure functions; proxy/fence carries it out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lull::routing {

/// One setting that the fence changes: a database's, or that of a role in a database, where the role has one
/// of its own, which would win. On the disk before it is changed.
struct fence_setting {
    std::string database;
    std::string role;  // empty: the database's
    // A migration may give them other names.
    std::uint32_t database_oid = 0;
    std::uint32_t role_oid = 0;
    std::optional<std::string> before;  // nothing: there was none
    bool read_only = false;             // what new sessions had without the fence, from wherever
    friend bool operator==(fence_setting const&, fence_setting const&) = default;
};

/// What new sessions of `user` would have without the fence; nothing: it does not concern that database.
[[nodiscard]] std::optional<bool> read_only_without(std::vector<fence_setting> const& fence,
                                                    std::string_view database, std::string_view user);
/// The statements that take the fence away by hand, for an operator: `most` of them, then "...".
[[nodiscard]] std::string undoing(std::vector<fence_setting> const& fence, std::size_t most);
/// "ALTER DATABASE a SET ... = x", or "RESET ..." where `value` is nothing.
[[nodiscard]] std::string alter(fence_setting const& what, std::optional<std::string> const& value);

}  // namespace lull::routing
