// `lull verify SITE`.
#include "proxy/cli.hpp"
#include "proxy/cli_progress.hpp"

#include <fmt/format.h>

namespace lull::cli {

int verify(admin_client const& admin, std::string const& site, bool as_json) {
    admin_reply const reply = admin.call("GET", "/sites/" + site + "/verify");
    if (!reply.ok()) return print_problem(reply);
    std::string const verdict = reply.body.value("verdict", "");
    if (as_json) {
        fmt::print("{}\n", reply.body.dump(2));
    } else {
        nlohmann::json const window = reply.body.value("window", nlohmann::json::object());
        auto const get = [&](char const* key) {
            return window.contains(key) ? text_of(window[key]) : std::string();
        };
        bool const over = !get("reopened_at").empty();
        fmt::print("{}: sealed {} at {}, {}\n", site, get("sealed_at"), get("sealed_lsn"),
                   over ? "reopened " + get("reopened_at") + " at " + get("finish_lsn") : "not reopened yet");
        for (auto const& line : reply.body.value("shown", nlohmann::json::array()))
            fmt::print("  shown      {}\n", text_of(line));
        for (auto const& line : reply.body.value("not_shown", nlohmann::json::array()))
            fmt::print("  not shown  {}\n", text_of(line));
        fmt::print("{}\n", verdict == "proved"     ? "PROVED: nobody but the migration committed anything"
                           : verdict == "violated" ? "VIOLATED: somebody else committed"
                                                   : "NOT PROVED: nothing speaks against it, but see above");
    }
    return verdict == "proved" ? 0 : verdict == "violated" ? failed : not_proved;
}

}  // namespace lull::cli
