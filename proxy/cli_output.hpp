// What the command line prints, and how: texts of clients and servers come through here without what a
// terminal would obey, and that nothing could be written is remembered until the end.
#pragma once

#include "proxy/printable.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>

namespace lull::cli {

/// A JSON value as text, strings without quotes.
std::string text_of(nlohmann::json const& value);
using lull::printable;
/// At most so many columns of a terminal, and never part of a character; what is left out shows as "...".
std::string cut(std::string const& text, std::size_t columns);
/// "1 write", "2 writes".
std::string counted(long long n, std::string_view noun);
/// For --json: as indented JSON that a terminal shows as it is.
std::string json_text(nlohmann::json const& value);

void put(std::FILE* to, std::string_view text);
/// To be called last: `status`, or `unwritten` where that is 0 and stdout did not take everything; said on
/// stderr.
int ended(int status, int unwritten);

/// Strings among the arguments are made printable: new lines come from the format alone.
template <class T>
using shown = std::conditional_t<std::is_convertible_v<T const&, std::string_view>, std::string, T>;

template <class T>
shown<T> show(T const& value) {
    if constexpr (std::is_convertible_v<T const&, std::string_view>)
        return printable(value);
    else
        return value;
}

/// To stdout.
template <class... Args>
void say(fmt::format_string<shown<Args>...> format, Args const&... args) {
    put(stdout, fmt::format(fmt::runtime(fmt::string_view(format)), show(args)...));
}

/// To stderr.
template <class... Args>
void complain(fmt::format_string<shown<Args>...> format, Args const&... args) {
    put(stderr, fmt::format(fmt::runtime(fmt::string_view(format)), show(args)...));
}

}  // namespace lull::cli
