#include "routing/fence.hpp"

#include "routing/quoted.hpp"

#include <algorithm>

namespace lull::routing {

std::optional<bool> read_only_without(std::vector<fence_setting> const& fence, std::string_view database,
                                      std::string_view user) {
    std::optional<bool> found;
    for (auto const& s : fence) {
        if (s.database != database) continue;
        if (!s.role.empty() && s.role == user) return s.read_only;
        if (s.role.empty()) found = s.read_only;
    }
    return found;
}

std::string alter(fence_setting const& what, std::optional<std::string> const& value) {
    std::string const database = quoted(what.database, '"');
    std::string const whose = what.role.empty()
                                  ? "ALTER DATABASE " + database
                                  : "ALTER ROLE " + quoted(what.role, '"') + " IN DATABASE " + database;
    return value ? whose + " SET default_transaction_read_only = " + quoted(*value, '\'')
                 : whose + " RESET default_transaction_read_only";
}

std::string undoing(std::vector<fence_setting> const& fence, std::size_t most) {
    std::string out;
    for (std::size_t i = 0; i < fence.size() && i < most; ++i)
        out += (out.empty() ? "" : " ") + alter(fence[i], fence[i].before) + ";";
    return fence.size() > most ? out + " ..." : out;
}

}  // namespace lull::routing
