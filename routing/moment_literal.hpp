// Literals that PostgreSQL makes a moment of when it reads the statement, and not when it runs it: 'now'::timestamptz,
// date 'today' (manual, "Special Values"). Pure.
#pragma once

#include <string_view>

namespace lull::routing {

/// Whether one of those words stands in what may be a literal, as '...', E'...' or $$...$$, alone or among others ('today
/// 12:00'). Perhaps also where it is no literal but stands between two.
[[nodiscard]] bool has_moment_literal(std::string_view sql);

}  // namespace lull::routing
