#include "config/validate_writes.hpp"

#include "config/issue.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

namespace lull::config {

namespace {

void judge_rule(std::string const& path, write_rule const& rule, refusal const& refuse) {
    static constexpr std::array<std::string_view, 15> known{
        "insert", "update",  "delete", "merge",  "select",      "copy",    "truncate", "ddl",
        "call",   "utility", "notify", "listen", "transaction", "setting", "unknown"};
    auto one_of = [](std::string_view name, std::initializer_list<std::string_view> names) {
        return std::find(names.begin(), names.end(), name) != names.end();
    };
    for (std::size_t i = 0; i < rule.statements.size(); ++i) {
        auto const& name = rule.statements[i];
        auto const at = path + ".statements[" + std::to_string(i) + "]";
        if (std::find(known.begin(), known.end(), name) == known.end()) {
            auto const near = nearest(name, {known.begin(), known.end()});
            refuse(at, shown(name) + " is not a kind of statement",
                   near.empty() ? "use insert, update, delete, merge, select, copy, truncate, ddl, call, "
                                  "utility, notify, listen, transaction, setting or unknown"
                                : "did you mean " + std::string(near) + "?");
            continue;
        }
        // Sealed means sealed: what passes must be unable to store anything, whatever it calls.
        if (rule.action == write_policy::pass && !one_of(name, {"notify", "listen"}))
            refuse(at, shown(name) + " cannot pass: it would change a site that is sealed",
                   "only notify and listen can pass; hold or journal the rest");
        if ((rule.action == write_policy::discard || rule.action == write_policy::journal) &&
            !one_of(name, {"insert", "update", "delete"}))
            refuse(at, shown(name) + " cannot be answered without running it",
                   "only insert, update and delete can be discarded or journaled");
    }
    if (rule.action == write_policy::pass && rule.statements.empty())
        refuse(path + ".action", "pass without statements would let everything through",
               "add `statements: [notify]` or `[listen]`: only these can pass");
}

}  // namespace

void validate_writes(site const& s, std::string const& path, refusal const& refuse) {
    if (s.writes == write_policy::pass)
        refuse(path + ".writes", "pass would let everything through",
               "write `write_rules: [{statements: [notify], action: pass}]` for what stores nothing");
    for (std::size_t i = 0; i < s.write_rules.size(); ++i) {
        write_rule const& rule = s.write_rules[i];
        std::string const at = path + ".write_rules[" + std::to_string(i) + "]";
        judge_rule(at, rule, refuse);
        if (s.guard.notify == notify_policy::discard &&
            std::find(rule.statements.begin(), rule.statements.end(), "notify") != rule.statements.end())
            refuse(at + ".statements", "guard.notify: discard answers every NOTIFY before a rule is asked",
                   "remove `notify: discard` under guard, or notify from this rule");
    }
}

}  // namespace lull::config
