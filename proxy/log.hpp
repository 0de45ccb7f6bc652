// The process's log: one line an event, to stderr. Any thread. Lines are written by the caller, so the hot
// path logs nothing.
//
//     lull::log::info("site {} is sealed at {}", site, lsn);
//
// Levels as an operator reads them: debug (development), info (what was done), notice (a mode changed, what
// one wants to find later), warning (works, but look), error (something asked for was not done), fatal (the
// process ends).
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace lull::log {

enum class level : unsigned char { debug, info, notice, warning, error, fatal };

/// Call once, before threads start. Lower levels are dropped.
void open(level lowest);
/// False where a debug message need not even be formatted.
[[nodiscard]] bool wants(level) noexcept;
/// Control characters in `line` are shown as \xNN: clients' texts must not forge lines.
void write(level, std::string_view line);

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
