// `lull verify SITE`.
#include "proxy/cli.hpp"
#include "proxy/cli_output.hpp"
#include "proxy/cli_progress.hpp"

#include <fmt/format.h>

namespace lull::cli {

int verify(admin_client const& admin, std::string const& site, bool as_json) {
    interrupt_guard const guard;  // the server may have much to read
    std::optional<admin_reply> const answer = progress().ask(admin, "GET", site_path(site) + "/verify");
    if (!answer) return interrupted;
    admin_reply const& reply = *answer;
    if (!reply.ok()) {
        print_problem(reply);
        return no_verdict;
    }
    std::string const verdict = reply.body.value("verdict", "");
    if (as_json) {
        put(stdout, json_text(reply.body) + "\n");
    } else {
        nlohmann::json const window = reply.body.value("window", nlohmann::json::object());
        auto const get = [&](char const* key) {
            return window.contains(key) ? text_of(window[key]) : std::string();
        };
        bool const over = !get("reopened_at").empty();
        say("{}: sealed {} at {}, {}\n", site, get("sealed_at"), get("sealed_lsn"),
            over ? "reopened " + get("reopened_at") + " at " + get("finish_lsn") : "not reopened yet");
        for (auto const& line : reply.body.value("shown", nlohmann::json::array()))
            say("  shown      {}\n", text_of(line));
        for (auto const& line : reply.body.value("not_shown", nlohmann::json::array()))
            say("  not shown  {}\n", text_of(line));
        say("{}\n", verdict == "proved"     ? "PROVED: nobody but the migration committed anything"
                    : verdict == "violated" ? "VIOLATED: somebody else committed"
                                            : "NOT PROVED: nothing speaks against it, but see above");
    }
    return verdict == "proved" ? 0 : verdict == "violated" ? failed : not_proved;
}

}  // namespace lull::cli
