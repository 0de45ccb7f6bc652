// A journal's file in words, for operators. Any thread; reads the file.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace lull {

enum class shown_entries : std::uint8_t { all, not_done };

/// At most 100, the first; each with the statement and its parameters as a person would write them down.
nlohmann::json show_journal(std::string const& file, shown_entries which);

}  // namespace lull
