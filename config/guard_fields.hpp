// The part of fields.hpp about a site's guard; fields.hpp includes it behind what it needs.
#pragma once

#include "config/model.hpp"

namespace lull::config {

inline constexpr std::array<choice<function_policy>, 2> function_policies{
    {{"server", function_policy::server}, {"refuse", function_policy::refuse}}};
inline constexpr std::array<choice<notify_policy>, 2> notify_policies{
    {{"refuse", notify_policy::refuse}, {"discard", notify_policy::discard}}};
inline constexpr std::array<choice<temporary_policy>, 2> temporary_policies{
    {{"refuse", temporary_policy::refuse}, {"write", temporary_policy::write}}};
inline constexpr std::array<choice<privileged_policy>, 2> privileged_policies{
    {{"serve", privileged_policy::serve}, {"refuse", privileged_policy::refuse}}};
constexpr auto const& choices_of(function_policy) {
    return function_policies;
}
constexpr auto const& choices_of(notify_policy) {
    return notify_policies;
}
constexpr auto const& choices_of(temporary_policy) {
    return temporary_policies;
}
constexpr auto const& choices_of(privileged_policy) {
    return privileged_policies;
}

template <class Guard, class V>
void visit_guard(Guard& g, V& v) {
    v.field("functions", g.functions,
            spec{.about = "What becomes of functions that nobody knows to only read while the site is sealed: "
                          "they run where the server refuses to write, or they are refused."});
    v.field("allow_functions", g.allow_functions,
            spec{.about = "Functions that change nothing whatever the catalog says: name, schema.name or "
                          "schema.*.",
                 .longest = 2 * longest_name + 1,
                 .example = "api.*"});
    v.field("deny_functions", g.deny_functions,
            spec{.about = "Functions that are refused while the site is sealed, beside those that always are: "
                          "name or schema.name.",
                 .longest = 2 * longest_name + 1,
                 .example = "audit.record"});
    v.field("notify", g.notify,
            spec{.about = "What becomes of NOTIFY while the site is sealed: an error, or an answer as if it "
                          "had been sent."});
    v.field("temporary_tables", g.temporary_tables,
            spec{.about = "Whether sessions may write to temporary tables that they had before the site was "
                          "sealed."});
    v.field(
        "privileged", g.privileged,
        spec{.about = "Whether superusers, and roles that may replicate, write server files, run programs "
                      "or signal others, are served while the site is sealed."});
}

}  // namespace lull::config
