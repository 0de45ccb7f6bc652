// Texts of clients and servers where people read them: in terminals and logs.
#pragma once

#include <string>
#include <string_view>

namespace lull {

/// On one line, with blanks for control characters and U+FFFD for what is no UTF-8.
std::string printable(std::string_view text);

}  // namespace lull
