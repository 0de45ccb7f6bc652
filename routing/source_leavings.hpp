// Looks through code in SQL or PL/pgSQL, of a function or a DO, for what it may leave in the session of its
// caller. By its words: nothing is parsed. SQL that is one text behind EXECUTE, or that begins there, is code
// as well; SQL that is put together elsewhere is not seen, apart from words that hardly mean anything else
// (CREATE TEMP, WITH HOLD, pg_advisory_lock()), which count wherever they stand.
#pragma once

#include "routing/leavings.hpp"

#include <functional>
#include <string_view>

namespace lull::routing {

/// Gets each name that is called, as PostgreSQL folds it and without its schema; perhaps more than once.
using call_sink = std::function<void(std::string_view name)>;

/// Time and stack are bounded by the length of the source, times a constant.
leavings source_leaves(std::string_view source, call_sink const& called);

/// Of a function that comes with the server, what its text, as that of a statement, does not show (statement::pins): random
/// numbers and replication slots, which no reset takes back.
leavings lasting_leaves(std::string_view name);
/// The same and the rest, called with whatever arguments.
leavings builtin_leaves(std::string_view name);

}  // namespace lull::routing
