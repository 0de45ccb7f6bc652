// The process's log: one line an event, to stderr. Any thread. Lines are written by the caller, so the hot
// path logs nothing.
//
//     lull::log::info("site {} is sealed at {}", site, lsn);
//
// As text, `2026-01-01 00:00:00.000 INFO [lull] message key=value`, or as one JSON object a line with time, level and
// message, and the event's own members.
//
// Levels as an operator reads them: debug (development), info (what was done), notice (a mode changed, what
// one wants to find later), warning (works, but look), error (something asked for was not done), fatal (the
// process ends).
#pragma once

#include "config/model.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace lull::log {

enum class level : unsigned char { debug, info, notice, warning, error, fatal };

/// Call once, before threads start. Lower levels are dropped.
void open(level lowest);
/// As the configuration wants it from now on. Any thread.
void configure(config::logging const& how);
/// False where a debug message need not even be formatted.
[[nodiscard]] bool wants(level) noexcept;
/// Control characters in `line` are shown as \xNN: clients' texts must not forge lines.
void write(level, std::string_view line);

using value = std::variant<std::uint64_t, double, std::string>;
/// With members of its own, for machines.
void event(level, std::string_view message, std::vector<std::pair<std::string_view, value>> const& members);

template <class... Args>
void at(level l, fmt::format_string<Args...> format, Args&&... args) {
    if (wants(l)) write(l, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    at(level::debug, format, std::forward<Args>(args)...);
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
    at(level::info, format, std::forward<Args>(args)...);
}
template <class... Args>
void notice(fmt::format_string<Args...> format, Args&&... args) {
    at(level::notice, format, std::forward<Args>(args)...);
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
    at(level::warning, format, std::forward<Args>(args)...);
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
    at(level::error, format, std::forward<Args>(args)...);
}
template <class... Args>
void fatal(fmt::format_string<Args...> format, Args&&... args) {
    at(level::fatal, format, std::forward<Args>(args)...);
}

}  // namespace lull::log
