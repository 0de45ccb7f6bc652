// Looks through the source of a function in SQL or PL/pgSQL that is declared STABLE or IMMUTABLE. PostgreSQL
// itself keeps such a function from INSERT and the like and from every utility command, also RESET; what is
// left is what it calls. Coarse, and on the safe side: strings and comments are looked through as well.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace lull::routing {

/// `name` as PostgreSQL folds it; `called`: a parenthesis follows. True: it must not be there.
using source_judge = std::function<bool(std::string_view name, bool called)>;

/// True where a word of `source` must not be there, or the source cannot be read as words; `culprit` is that
/// word.
bool source_reaches(std::string_view source, source_judge const& judge, std::string& culprit);

/// Words of SQL and PL/pgSQL that a parenthesis may follow without a call.
bool is_word_of_sql(std::string_view word);

}  // namespace lull::routing
