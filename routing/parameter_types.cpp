#include "routing/parameter_types.hpp"

#include <algorithm>
#include <vector>

namespace lull::routing {

namespace {

constexpr std::uint32_t first_normal_oid = 16384;  // FirstNormalObjectId: below come those of the server itself

}  // namespace

std::shared_ptr<operation const> with_parameter_types(std::shared_ptr<operation const> const& op,
                                                      std::string_view types) {
    std::vector<name_use> found;
    for (std::size_t at = 0; at + 4 <= types.size(); at += 4) {
        std::uint32_t oid = 0;
        for (std::size_t i = at; i < at + 4; ++i) oid = oid << 8 | static_cast<unsigned char>(types[i]);
        if (oid < first_normal_oid) continue;
        std::uint64_t const number = type_number(oid);
        name_use const use{named::type, true, number, number};
        if (std::ranges::find(found, use) == found.end()) found.push_back(use);
    }
    if (found.empty()) return op;
    auto made = std::make_shared<operation>(*op);
    for (statement& s : made->statements) {
        if (s.access >= access::write) continue;
        s.names.insert(s.names.end(), found.begin(), found.end());
        made->has_names = true;
    }
    return made;
}

}  // namespace lull::routing
