// The part of fields.hpp about writes that a closed site keeps from running; fields.hpp includes it behind
// what it needs.
#pragma once

#include "config/model.hpp"

namespace lull::config {

inline constexpr std::array<choice<write_policy>, 5> write_policies{{{"refuse", write_policy::refuse},
                                                                     {"hold", write_policy::hold},
                                                                     {"discard", write_policy::discard},
                                                                     {"journal", write_policy::journal},
                                                                     {"pass", write_policy::pass}}};
constexpr auto const& choices_of(write_policy) {
    return write_policies;
}

template <class Rule, class V>
void visit_write_rule(Rule& r, V& v) {
    v.field("users", r.users,
            spec{.about = "The users that the rule is for, where * stands for anything.",
                 .longest = longest_name,
                 .note = "any user",
                 .example = "app"});
    v.field("applications", r.applications,
            spec{.about = "The application_names that the rule is for, where * stands for anything.",
                 .longest = longest_name,
                 .note = "any application",
                 .example = "worker*"});
    v.field("statements", r.statements,
            spec{.about = "The statements that the rule is for: insert, update, delete, merge, select, copy, "
                          "truncate, ddl, call, utility, notify, listen, transaction, setting, unknown.",
                 .longest = 32,
                 .note = "any statement",
                 .example = "insert"});
    v.field("tables", r.tables,
            spec{.about = "The tables that the rule is for, where * stands for anything; without a schema in "
                          "any schema. It fits a statement that writes to no other table.",
                 .longest = 2 * longest_name + 1,
                 .note = "any table",
                 .example = "page_views"});
    v.field("action", r.action,
            spec{.about = "What happens to such a write while the site is sealed; the first rule that fits "
                          "decides.",
                 .required = true,
                 .example = "journal"});
}

template <class Site, class V>
void visit_writes(Site& s, V& v) {
    v.field("writes", s.writes,
            spec{.about = "What happens to a write while the site is sealed: an error at once, or waiting "
                          "until it reopens."});
    v.list("write_rules", s.write_rules,
           "What happens to some writes instead; the first rule that fits decides.",
           [](auto& rule, auto& visitor) { visit_write_rule(rule, visitor); });
    v.section("hold", [&] {
        v.field("max_count", s.hold.max_count,
                spec{.about = "Writes that may wait at one time; further ones are refused.",
                     .least = 1,
                     .most = 1'000'000});
        v.field("max_bytes", s.hold.max_bytes,
                spec{.about = "Memory for all waiting writes.",
                     .least = kilobyte,
                     .most = 64 * gigabyte,
                     .bytes = true});
        v.field("max_age", s.hold.max_age,
                spec{.about = "A write that has waited this long is refused, also while journaled writes are still run before it.",
                     .least = 1,
                     .most = day});
        v.field("release_per_second", s.hold.release_per_second,
                spec{.about = "How many of them run in each second when the window is over.",
                     .least = 1,
                     .most = 1'000'000});
    });
    v.section("journal", [&] {
        v.field("max_count", s.journal.max_count,
                spec{.about = "Writes that one window's journal may hold; further ones are refused.",
                     .least = 1,
                     .most = 10'000'000});
        v.field("max_bytes", s.journal.max_bytes,
                spec{.about = "Size of one window's journal on the disk.",
                     .least = kilobyte,
                     .most = 64 * gigabyte,
                     .bytes = true});
        v.field("replay_timeout", s.journal.replay_timeout,
                spec{.about = "How long the site stays closed after a window while its journal is replayed; "
                              "then it opens, and the rest is kept.",
                     .least = second,
                     .most = day});
    });
}

}  // namespace lull::config
