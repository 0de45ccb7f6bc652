// The part of fields.hpp about the console and the log; fields.hpp includes it behind what it needs.
#pragma once

#include "config/model.hpp"

namespace lull::config {

inline constexpr std::array<choice<log_format>, 2> log_formats{
    {{"text", log_format::text}, {"json", log_format::json}}};
inline constexpr std::array<choice<log_level>, 5> log_levels{{{"debug", log_level::debug},
                                                              {"info", log_level::info},
                                                              {"notice", log_level::notice},
                                                              {"warning", log_level::warning},
                                                              {"error", log_level::error}}};
constexpr auto const& choices_of(log_format) {
    return log_formats;
}
constexpr auto const& choices_of(log_level) {
    return log_levels;
}

template <class Console, class V>
void visit_console(Console& c, V& v) {
    v.field("database", c.database,
            spec{.about = "The name under which psql opens it, on the PostgreSQL port.", .longest = longest_name});
    v.field("admins", c.admins,
            spec{.about = "Users who may do everything there. They need a password under users.",
                 .longest = longest_name,
                 .example = "ops"});
    v.field("stats", c.stats,
            spec{.about = "Users who may SHOW.", .longest = longest_name, .example = "exporter"});
    v.field("pause_timeout", c.pause_timeout,
            spec{.about = "How long PAUSE waits for open transactions before it gives up.",
                 .least = 1,
                 .most = day});
}

template <class Logging, class V>
void visit_log(Logging& l, V& v) {
    v.field("format", l.format, spec{.about = "How a line looks: for eyes, or a JSON object for machines."});
    v.field("level", l.level, spec{.about = "Lines below this are not written."});
    v.field("slow_query", l.slow_query,
            spec{.about = "Queries that take as long or longer are logged, without their constants; 0s: none.",
                 .most = day});
    v.field("sample", l.sample,
            spec{.about = "Every so many queries one is logged, without its constants; 0: none.",
                 .most = 1'000'000'000});
    v.field("statements_per_second", l.statements_per_second,
            spec{.about = "Slow and sampled queries logged in a second, all workers together; the rest is counted.",
                 .least = 1,
                 .most = 100'000});
}

}  // namespace lull::config
