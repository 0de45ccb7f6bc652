// `lull journal`.
#include "proxy/cli.hpp"
#include "proxy/cli_progress.hpp"

#include <fmt/format.h>

namespace lull::cli {

namespace {

using nlohmann::json;

std::string text(json const& object, char const* key) {
    return printable(object.value(key, ""));
}

void print_entries(json const& entries) {
    for (json const& e : entries) {
        fmt::print("  {:>6}  {}  {}  {}@{} {}\n          {}\n", e.value("number", 0), text(e, "received"),
                   text(e, "state"), text(e, "user"), text(e, "database"), text(e, "application_name"),
                   text(e, "statement"));
        auto const parameters = e.find("parameters");
        if (parameters != e.end() && !parameters->empty())
            fmt::print("          with {}\n",
                       printable(parameters->dump(-1, ' ', false, json::error_handler_t::replace)));
        if (e.contains("error")) fmt::print("          {} {}\n", text(e, "sqlstate"), text(e, "error"));
    }
}

}  // namespace

int journal(admin_client const& admin, std::string const& site, bool as_json) {
    admin_reply const reply = admin.call("GET", "/sites/" + site + "/journal");
    if (!reply.ok()) return print_problem(reply);
    json const& j = reply.body;
    if (as_json) {
        fmt::print("{}\n", j.dump(2));
        return 0;
    }
    if (j.value("replaying", false))
        fmt::print("{}: the journal is being replayed, {} writes are left\n", site, j.value("pending", 0));
    else
        fmt::print("{}: {} writes are in the journal ({} bytes)\n", site, j.value("pending", 0),
                   j.value("bytes", 0));
    if (auto const problem = j.value("problem", ""); !problem.empty())
        fmt::print("  problem: {}\n", printable(problem));
    print_entries(j["entries"]);
    if (auto const& last = j["last"]; last.is_object())
        fmt::print(
            "last replay: {} done ({} with another number of rows than was answered), {} failed, "
            "{} unknown, {} not run; ended {}\n",
            last.value("done", 0), last.value("differs", 0), last.value("failed", 0),
            last.value("unknown", 0), last.value("left", 0), last.value("ended", ""));
    for (json const& kept : j["not_done"]) {
        fmt::print("not done, kept in {} (look, put right by hand, then delete the file):\n",
                   kept.value("file", ""));
        print_entries(kept["entries"]);
    }
    return 0;
}

}  // namespace lull::cli
