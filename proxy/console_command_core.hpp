// What an operator may type into the console, as values. Pure; any thread.
//
//   SHOW what | PAUSE [db] [TIMEOUT '30s'] | RESUME [db] | RECONNECT [db] | KILL db | RELOAD
//   SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS] | MAINTENANCE ON site [REASON 'text'] | MAINTENANCE OFF
//   site
//
// One command a text, with or without its semicolon. Names may stand in double quotes and texts in single
// ones, each doubled within as in SQL; words are understood in any case.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace lull {

enum class console_verb : std::uint8_t {
    nothing,  // an empty text: drivers send it to see whether anybody is there
    set,  // of what drivers set by habit: taken, and nothing is done
    show,
    pause,
    resume,
    reconnect,
    kill,
    reload,
    shutdown,
    maintenance_on,
    maintenance_off,
};

enum class console_topic : std::uint8_t {
    help,
    clients,
    servers,
    pools,
    databases,
    stats,
    stats_totals,
    stats_averages,
    totals,
    lists,
    users,
    state,
    sites,
    backends,
    prepared,
    config,
    locks,
    version,
    parameter,  // one that clients ask every server for; `name`
};

struct console_command {
    console_verb verb = console_verb::nothing;
    console_topic topic = console_topic::help;
    std::string name;  // of a database or site; empty: all
    std::string reason;
    std::optional<std::chrono::milliseconds> timeout;
    bool graceful = false;  // SHUTDOWN WAIT_FOR_...
    friend bool operator==(console_command const&, console_command const&) = default;
};

struct console_mistake {
    std::string_view sqlstate;
    std::string message;
    std::string hint;
};

inline constexpr std::size_t longest_console_command = 8 * 1024;

std::variant<console_command, console_mistake> parse_console_command(std::string_view text);

/// What a server says of the parameters that drivers ask for first; empty: not one of them. `name` in lower
/// case.
std::string_view console_parameter(std::string_view name);

/// The text of SHOW HELP.
std::string_view console_help();

}  // namespace lull
