// A statement for a log: without its constants and comments, which hold what is nobody's business. Pure; any
// thread.
//
// Where it is not certain how the server read a constant (a backslash in a plain one, a text that was cut),
// all that follows goes, too: something missing from a log is better than a password in it.
#pragma once

#include <string>
#include <string_view>

namespace lull::routing {

/// Constants become ?, comments and runs of white space one blank. No control characters.
[[nodiscard]] std::string redact_sql(std::string_view sql);

}  // namespace lull::routing
