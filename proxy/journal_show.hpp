// A journal's file in words, for operators. Any thread; reads the file.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace lull {

enum class shown_entries : std::uint8_t { all, not_done };
enum class shown_most : std::uint8_t { some, all };

/// Adds to `out` `entries`: at most 100, the first, where `most` is some; each with the statement and its parameters
/// as a person would write them down. `more`: how many there are beside these. `damage`: empty, or a sentence.
void show_journal(nlohmann::json& out, std::string const& file, shown_entries which, shown_most most);

}  // namespace lull
