// Any pg_hba.conf: bounded, and every rule that was understood can be asked.
#include "config/hba.hpp"

#include "routing/admission.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace lull;

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const text{reinterpret_cast<char const*>(data), size};
    auto const parsed = config::parse_hba(text);
    if (parsed.problems.size() > config::most_hba_problems) std::abort();
    for (auto const& rule : parsed.rules)
        if (rule.databases.empty() || rule.users.empty() ||
            (rule.network && rule.connection == config::hba_connection::local))
            std::abort();
    for (bool const local : {false, true}) {
        routing::newcomer who;
        who.local = local;
        if (!local) who.address = config::ip_address{};
        who.user = "user";
        who.database = "database";
        (void)routing::admit(parsed.rules, who);
    }
    return 0;
}
