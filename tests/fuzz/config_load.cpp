// Any bytes as a configuration: refused with places inside the text and a fix each, or loaded; and what was
// loaded prints as text that loads as the same again.
#include "config/diff.hpp"
#include "config/load.hpp"
#include "config/print.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace {

using namespace lull::config;

void require(bool condition, char const* what, std::string const& text) {
    if (condition) return;
    std::fprintf(stderr, "broken: %s\n%s\n", what, text.c_str());
    std::abort();
}

config without_secrets(config c) {
    for (auto& [name, cluster] : c.clusters) {
        if (cluster.control) cluster.control->password.clear();
        if (cluster.auth_query) cluster.auth_query->role.password.clear();
    }
    for (auto& [name, user] : c.users) user.password = user.server_password = "";
    return c;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const text(reinterpret_cast<char const*>(data), size);
    std::vector<warning> warnings;
    auto const loaded = load_text("fuzz.yaml", text, &warnings);
    for (auto const& w : warnings)
        require(!w.message.empty() && !w.fix.empty(), "a warning teaches", to_string(w));
    if (auto const* issues = std::get_if<std::vector<issue>>(&loaded)) {
        auto const lines = std::count(text.begin(), text.end(), '\n') + 1;
        // yaml-cpp also ends lines at a carriage return.
        auto const returns = std::count(text.begin(), text.end(), '\r');
        require(!issues->empty() && issues->size() <= 100, "between 1 and 100 issues", "");
        for (auto const& i : *issues) {
            require(!i.message.empty() && !i.fix.empty(), "an issue teaches", to_string(i));
            require(i.line >= 0 && i.line <= lines + returns && i.column >= 0, "its place is in the text",
                    to_string(i));
        }
        return 0;
    }
    auto const& first = std::get<config>(loaded);
    auto const printed = print_effective(first);
    auto const again = load_text("fuzz.yaml", printed);
    if (auto const* issues = std::get_if<std::vector<issue>>(&again))
        require(false, "what is printed loads", to_string(issues->front()) + "\n" + printed);
    auto const& second = std::get<config>(again);
    require(without_secrets(first) == without_secrets(second), "what is printed loads as the same", printed);
    for (auto const& c : diff(first, second))
        require(c.note.starts_with("changed"), "only secrets differ", c.what + ": " + c.note);
    return 0;
}
