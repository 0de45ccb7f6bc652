#include "config/validate_guard.hpp"

#include "config/issue.hpp"

namespace lull::config {

namespace {

bool is_function(std::string const& entry, bool whole_schemas) {
    auto const dot = entry.find('.');
    if (dot == std::string::npos) return entry != "*";
    bool const one_dot = entry.find('.', dot + 1) == std::string::npos;
    return dot > 0 && dot + 1 < entry.size() && one_dot && (whole_schemas || entry.substr(dot + 1) != "*");
}

}  // namespace

void validate_guard(config const& all, site const& s, std::string const& path, refusal const& refuse) {
    auto const cluster = all.clusters.find(s.cluster);
    if (s.guard.functions == function_policy::refuse && cluster != all.clusters.end() && !cluster->second.control)
        refuse(path + ".functions",
               "without a control role nobody reads the catalog, and every read of a table would be refused "
               "while the site is sealed",
               "add `control: {user: lull, password: ...}` to the cluster, or write `functions: server`");
    auto const names = [&](char const* key, std::vector<std::string> const& list, bool whole_schemas) {
        for (std::size_t i = 0; i < list.size(); ++i)
            if (!is_function(list[i], whole_schemas))
                refuse(path + "." + key + "[" + std::to_string(i) + "]", shown(list[i]) + " is not a function",
                       whole_schemas ? "write name, schema.name or schema.*" : "write name or schema.name");
    };
    names("allow_functions", s.guard.allow_functions, true);
    names("deny_functions", s.guard.deny_functions, false);
}

void warn_of_openings(config const& all, site const& s, std::string const& path, refusal const& warn) {
    if (!s.migration_users.empty() && !all.listen.migration)
        warn(path + ".migration.users", "there is no migration port", "add `migration: 127.0.0.1:6433` under listen");
    if (s.migration_users.empty() && all.listen.migration)
        warn(path + ".migration.users",
             "not set: everybody who can log in may use the migration port, and writes there while the site is sealed",
             "name the migration's role: `migration: {users: [" + s.name + "_owner]}`");
    for (std::size_t i = 0; i < s.guard.allow_functions.size(); ++i)
        if (std::string const& name = s.guard.allow_functions[i]; name.find('.') == std::string::npos)
            warn(path + ".guard.allow_functions[" + std::to_string(i) + "]",
                 shown(name) + " allows functions of that name in every schema, also one that a client makes",
                 "write it with its schema, as in api." + name);
}

}  // namespace lull::config
