// `lull journal`.
#include "proxy/cli.hpp"
#include "proxy/cli_output.hpp"

#include <fmt/format.h>

namespace lull::cli {

namespace {

using nlohmann::json;

std::string text(json const& object, char const* key) {
    return object.value(key, "");
}

void print_entries(json const& in) {
    for (json const& e : in["entries"]) {
        say("  {:>6}  {}  {}  {}@{} {}\n          {}\n", e.value("number", 0), text(e, "received"),
            text(e, "state"), text(e, "user"), text(e, "database"), text(e, "application_name"),
            text(e, "statement"));
        for (json const& sql : e["settings"]) say("          after {}\n", sql.get<std::string>());
        auto const parameters = e.find("parameters");
        if (parameters != e.end() && !parameters->empty())
            say("          with {}\n", parameters->dump(-1, ' ', false, json::error_handler_t::replace));
        if (e.contains("error")) say("          {} {}\n", text(e, "sqlstate"), text(e, "error"));
    }
    if (int const more = in.value("more", 0); more > 0) say("  and {} more: --json shows all\n", more);
    if (auto const damage = text(in, "damage"); !damage.empty())
        say("  and what cannot be read: {}\n", damage);
}

}  // namespace

int run_journal(admin_client const& admin, std::string const& site) {
    admin_reply const reply = admin.call("POST", site_path(site) + "/journal");
    if (!reply.ok()) return print_problem(reply);
    say("{}: running {} of {}; `lull journal {}` shows what comes of it\n", site,
        counted(reply.body.value("pending", 0LL), "write"), text(reply.body, "file"), site);
    return 0;
}

int journal(admin_client const& admin, std::string const& site, bool as_json) {
    admin_reply const reply = admin.call("GET", site_path(site) + "/journal" + (as_json ? "?all=1" : ""));
    if (!reply.ok()) return print_problem(reply);
    json const& j = reply.body;
    if (as_json) {
        put(stdout, json_text(j) + "\n");
        return 0;
    }
    if (j.value("replaying", false))
        say("{}: the journal is being replayed, {} left\n", site, counted(j.value("pending", 0LL), "write"));
    else
        say("{}: {} in the journal ({})\n", site, counted(j.value("pending", 0LL), "write"),
            counted(j.value("bytes", 0LL), "byte"));
    if (auto const problem = j.value("problem", ""); !problem.empty()) say("  problem: {}\n", problem);
    print_entries(j);
    for (json const& cut : j["cut"])
        say("  an end that a crash left half written, and was never answered, is kept in {}\n",
            cut.get<std::string>());
    if (auto const& last = j["last"]; last.is_object())
        say("last replay: {} done ({} with another number of rows than was answered), {} failed, "
            "{} unknown, {} not run; ended {}\n",
            last.value("done", 0), last.value("differs", 0), last.value("failed", 0),
            last.value("unknown", 0), last.value("left", 0), last.value("ended", ""));
    for (json const& kept : j["not_done"]) {
        bool const whole = kept.value("more", 0) == 0 && text(kept, "damage").empty();
        say("not done, kept in {} (`lull journal {} --run` runs what failed or was not run{}):\n",
            text(kept, "file"), site, whole ? "; or put right by hand, then delete the file" : "");
        print_entries(kept);
    }
    return 0;
}

}  // namespace lull::cli
