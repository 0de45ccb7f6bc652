// What SHOW answers, as tables. The columns of PgBouncer 1.18 come first, under its names and in its order,
// where they mean the same; what only Lull has follows. Control thread; pure but for the current time, which
// it is told.
#pragma once

#include "proxy/console_command_core.hpp"
#include "proxy/console_table_core.hpp"
#include "proxy/overview.hpp"

#include <string>

namespace lull {

struct console_facts {
    routing::wall_time now;
    bool whole_statements = false;  // with their constants: who asks is an admin
    /// Totals of about a minute ago, for averages, and how long ago that was. 0: not known yet.
    std::map<std::string, database_stats> before;
    std::chrono::duration<double> before_age{};
};

/// Which rows an answer to this needs.
survey_wish wish_for(console_topic topic);

enum class stats_part : std::uint8_t { both, totals, averages };
console_table show_stats(overview const& all, console_facts const& facts, stats_part part);
console_table show_totals(overview const& all, console_facts const& facts);

console_table show_clients(overview const& all, console_facts const& facts);
console_table show_servers(overview const& all);
console_table show_locks(overview const& all, console_facts const& facts);
console_table show_prepared(overview const& all, console_facts const& facts);

/// For every topic but help.
console_table show(console_command const& what, overview const& all, console_facts const& facts);

}  // namespace lull
