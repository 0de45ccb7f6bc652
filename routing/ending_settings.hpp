// Settings by which a server ends a session of its own accord: after some time, or with the first error.
#pragma once

#include <algorithm>
#include <string_view>

namespace lull::routing {

struct ending_setting {
    std::string_view name;
    unsigned since;        // the version of PostgreSQL that has it first
    std::string_view off;  // the value with which it ends nothing
};

/// PostgreSQL manual, "Client Connection Defaults" and "Error Handling".
inline constexpr ending_setting ending_settings[] = {
    {"exit_on_error", 9, "off"},
    {"idle_in_transaction_session_timeout", 10, "0"},
    {"idle_session_timeout", 14, "0"},
    {"transaction_timeout", 17, "0"},
};

inline bool ends_sessions(std::string_view name) {
    return std::ranges::any_of(ending_settings, [&](ending_setting const& s) { return s.name == name; });
}

}  // namespace lull::routing
