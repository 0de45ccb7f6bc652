// Types that no text names: those of parameters, which Parse has as OIDs. A value that is bound to one is read by its
// input function, which for a domain runs its CHECK, whoever wrote that.
#pragma once

#include "routing/named.hpp"
#include "routing/operation.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace lull::routing {

/// By which facts about a type are found where only its OID is known.
inline std::uint64_t type_number(std::uint32_t oid) {
    return name_number(named::type, "#", std::to_string(oid));
}

/// `op`, naming also those of `types` (OIDs of four bytes, as on the wire) that did not come with the server.
std::shared_ptr<operation const> with_parameter_types(std::shared_ptr<operation const> const& op,
                                                      std::string_view types);

}  // namespace lull::routing
