// `lull status`, `lull check`, `lull reload`.
#include "config/print.hpp"
#include "proxy/cli.hpp"
#include "proxy/cli_output.hpp"
#include "proxy/configured.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lull::cli {

namespace {

using nlohmann::json;

std::string text(json const& object, char const* key, std::string const& otherwise = "") {
    if (!object.is_object()) return otherwise;
    auto const at = object.find(key);
    if (at == object.end() || at->is_null()) return otherwise;
    return at->is_string() ? at->get<std::string>() : at->dump();
}

std::string writes(json const& object, char const* key) {
    return counted(object.value(key, 0LL), "write");
}

std::string in_words(std::string const& state) {
    if (state == "read_write") return "open: reads and writes";
    if (state == "draining") return "entering maintenance: waiting for writes in flight to end";
    if (state == "sealing") return "entering maintenance: no write in flight, taking the proof";
    if (state == "sealed") return "SEALED: reads only, nobody but the migration can write";
    if (state == "frozen") return "SEALED and FROZEN: reads come from a replica that stands still";
    if (state == "reopening") return "leaving maintenance: replicas catch up before writes open";
    if (state == "replaying") return "leaving maintenance: journaled writes are run before writes open";
    if (state == "recovering") return "closed after a restart: finding out what is true";
    return state;
}

/// What nobody can see through, and what can leave the server: only where there is any, or nothing is known.
void print_catalogs(json const& site) {
    auto const catalogs = site.find("catalogs");
    if (catalogs == site.end() || !catalogs->is_array()) return;
    for (json const& c : *catalogs) {
        if (auto const trouble = text(c, "trouble"); !trouble.empty()) {
            say("  catalog of {} cannot be read: {}\n", text(c, "database"), trouble);
            continue;
        }
        std::string leaves;
        for (json const& e : c.value("extensions", json::array()))
            for (char const* way : {"dblink", "postgres_fdw", "file_fdw"})
                if (e == way) leaves += (leaves.empty() ? "" : ", ") + std::string(way);
        if (!leaves.empty())
            say("  {} has {}: sessions of their own, which Lull does not see\n", text(c, "database"), leaves);
        if (c.value("unlisted_relations", 0) > 0) {
            say("  {} of {}'s relations reach functions that nobody knows to only read:\n",
                text(c, "unlisted_relations"), text(c, "database"));
            for (json const& e : c.value("examples", json::array())) say("    {}\n", e.get<std::string>());
        }
    }
}

/// Where there is more to say than one reason without a lease.
void print_reasons(json const& site) {
    auto const reasons = site.find("reasons");
    if (reasons == site.end() || !reasons->is_array()) return;
    bool const leased = std::any_of(reasons->begin(), reasons->end(),
                                    [](json const& r) { return !text(r, "lease_ms").empty(); });
    if (reasons->size() < 2 && !leased) return;
    say("  reasons:\n");
    for (json const& r : *reasons) {
        std::string lease;
        if (r.value("lapsed", false))
            lease = ", ITS LEASE HAS ENDED";
        else if (!text(r, "lease_left_ms").empty())
            lease = fmt::format(", lease for {} s more, then {}", r["lease_left_ms"].get<long long>() / 1000,
                                text(r, "on_lease_end"));
        say("    {} since {} by {}: {}{}\n", text(r, "as"), text(r, "since"), text(r, "owner", "-"),
            text(r, "reason", "-"), lease);
    }
}

void print_hooks(json const& site) {
    auto const hooks = site.find("hooks");
    if (hooks == site.end() || !hooks->is_array()) return;
    for (json const& h : *hooks)
        say("  hook {:<8}{} {}, {}{}\n", text(h, "hook"), text(h, "program"), text(h, "text"), text(h, "at"),
            h.value("ok", false) ? "" : "  FAILED");
}

/// Where it matters: while the site is closed, or where something of it is still to be put back.
std::string fence_in_words(json const& site, bool open) {
    auto const fence = site.find("fence");
    if (fence == site.end() || !fence->is_object()) return {};
    std::string const state = text(*fence, "state");
    std::string const why = text(*fence, "note").empty() ? "" : ": " + text(*fence, "note");
    if (state == "up") return "up: the server itself refuses writes past Lull" + why;
    if (state == "raising") return "NOT UP YET" + why;
    if (state == "missing") return "NOT FENCED" + why;
    if (state == "lowering") return "is being taken away" + why;
    if (state == "owed") return "STILL UP, writes past Lull are refused" + why;
    if (open) return {};
    return fence->value("configured", false) ? "" : "none: who goes past Lull is not stopped";
}

void print_last_window(json const& site, json const& last) {
    std::string const who = text(last, "owner").empty() ? "" : " by " + text(last, "owner");
    std::string const why = text(last, "reason").empty() ? "" : ": " + text(last, "reason");
    std::string const proof = text(last, "proof");
    std::string const end = text(last, "finish_lsn").empty() ? "" : " at " + text(last, "finish_lsn");
    say("  last window  epoch {}{}{}\n", text(last, "epoch"), who, why);
    say("               sealed {} at {}, reopened {}{}\n", text(last, "sealed_at"),
        text(last, "sealed_lsn", "?"), text(last, "reopened_at"), end);
    say("               {}\n",
        proof == "proved" ? std::string("PROVED: nobody but the migration committed anything in it")
        : proof == "violated"
            ? "VIOLATED: SOMEBODY ELSE COMMITTED IN IT: see `lull verify " + text(site, "site") + "`"
        : proof == "not_proved"
            ? "not proved: see `lull verify " + text(site, "site") + "` for what could and could not be"
            : "`lull verify " + text(site, "site") + "` says who committed in it");
}

void print_site(json const& site) {
    std::string const state = text(site, "state");
    say("{}: {}\n", text(site, "site"), in_words(state));
    auto line = [](char const* name, std::string const& value) {
        if (!value.empty()) say("  {:<13}{}\n", name, value);
    };
    line("since", text(site, "since"));
    if (state != "read_write") {
        line("reason", text(site, "reason"));
        line("by", text(site, "owner"));
        line("until", text(site, "until") + (site.value("overdue", false) ? "  OVERDUE" : ""));
        line("sealed at", text(site, "sealed_lsn").empty()
                              ? ""
                              : text(site, "sealed_lsn") + ", " + text(site, "sealed_at"));
    }
    line("fence", fence_in_words(site, state == "read_write"));
    print_reasons(site);
    line("epoch", text(site, "epoch"));
    line("clients", text(site, "clients"));
    if (auto const held = site.find("held");
        held != site.end() && held->is_object() && held->value("count", 0) > 0)
        line("held writes", text(*held, "count") + " of at most " + text(*held, "max_count") + " (" +
                                text(*held, "bytes") + " bytes of " + text(*held, "max_bytes") + ")");
    if (text(site, "refused", "0") != "0")
        line("refused", writes(site, "refused") + (text(site, "over_limit", "0") == "0"
                                                       ? std::string()
                                                       : ", " + text(site, "over_limit") +
                                                             " of them by the limits of hold and journal"));
    if (text(site, "unknown", "0") != "0")
        line("unknown", writes(site, "unknown") + " MAY BE RUN OR NOT: the disk of the journal failed");
    if (text(site, "discarded", "0") != "0") line("discarded", writes(site, "discarded"));
    if (text(site, "journaled", "0") != "0") line("journaled", writes(site, "journaled"));
    if (text(site, "passed", "0") != "0") line("passed", text(site, "passed") + " NOTIFY and LISTEN, as write_rules say");
    if (auto const journal = site.find("journal"); journal != site.end() && journal->is_object()) {
        if (journal->value("pending", 0) > 0)
            line("journal", writes(*journal, "pending") + " to run, of at most " +
                                text(*journal, "max_count") + " (" + text(*journal, "bytes") + " bytes of " +
                                text(*journal, "max_bytes") + ")");
        line("journal", text(*journal, "problem"));
        for (json const& refused : journal->value("refused", json::array())) line("NOT journaled", refused.get<std::string>());
        if (auto const cut = journal->find("cut"); cut != journal->end() && !cut->empty())
            line("journal", "kept of it: " + counted(static_cast<long long>(cut->size()), "cut-off end") +
                                ", see `lull journal " + text(site, "site") + "`");
        if (journal->value("kept", 0) > 0)
            line("journal", counted(journal->value("kept", 0LL), "file") +
                                " with writes that were not done: see `lull journal " + text(site, "site") +
                                "`");
    }
    if (auto const error = site.find("error"); error != site.end() && !error->is_null()) {
        line("last error", error->is_object() ? text(*error, "text") : text(site, "error"));
        if (error->is_object()) line("to do", text(*error, "fix"));
    }
    auto const writers = site.find("writers");
    if (writers != site.end() && writers->is_array() && !writers->empty() && state != "read_write") {
        say("  still writing:\n");
        for (json const& w : *writers)
            say("    pid {} {}@{} {} {} since {}: {}\n", text(w, "pid", "-"), text(w, "user"),
                text(w, "database"), text(w, "application_name"), text(w, "state"), text(w, "since"),
                text(w, "statement"));
    }
    auto list = [](json const& in, char const* key, char const* title) {
        auto const lines = in.find(key);
        if (lines == in.end() || !lines->is_array() || lines->empty()) return;
        say("  {}:\n", title);
        for (json const& l : *lines) say("    {}\n", l.is_string() ? l.get<std::string>() : l.dump());
    };
    if (state != "read_write") list(site, "waited_for", "sealing waited for");
    list(site, "suspects", "nobody is connected to them any more, the server may go on");
    list(site, "outsiders", "writing past Lull, not stopped by it");
    json const fence = site.value("fence", json::object());
    bool const fenced = text(fence, "state") == "up";
    list(fence, "ended", "their sessions past Lull were ended for the fence");
    list(site, "bypassing", fenced ? "connected past Lull" : "connected past Lull, could write");
    print_hooks(site);
    auto const backends = site.find("backends");
    if (backends != site.end() && backends->is_array()) {
        say("  {:<24}{:<10}{:<12}{:<10}{}\n", "server", "role", "health", "lag", "replay");
        for (json const& b : *backends)
            say("  {:<24}{:<10}{:<12}{:<10}{}{}\n", text(b, "address"), text(b, "role"),
                b.value("healthy", false) ? "healthy" : "UNHEALTHY",
                text(b, "lag_ms").empty() ? "" : text(b, "lag_ms") + " ms", text(b, "replay_lsn"),
                b.value("frozen", false) ? " (frozen)" : "");
    }
    print_catalogs(site);
    if (auto const last = site.find("last_window"); last != site.end() && last->is_object() && !last->empty())
        print_last_window(site, *last);
}

/// Of the last ten minutes.
void print_open_files(json const& files) {
    constexpr std::int64_t of_interest = 600;
    auto const since = files.find("seconds_since_refusal");
    if (since == files.end() || !since->is_number_integer() || since->get<std::int64_t>() > of_interest) return;
    say("OUT OF FILE DESCRIPTORS {} s ago: of {} that lull may open {} are for clients; more are turned away\n"
        "  raise the limit (LimitNOFILE= of its unit, ulimit -n; at once: prlimit --pid PID --nofile=NUMBER), or end clients; see its log\n",
        text(files, "seconds_since_refusal"), text(files, "max"), text(files, "max_for_clients"));
}

void complain_lines(std::string_view indent, std::string_view lines) {
    while (!lines.empty()) {
        std::string_view const line = lines.substr(0, lines.find('\n'));
        complain("{}{}\n", indent, line);
        lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    }
}

}  // namespace

int print_problem(admin_reply const& reply) {
    complain("lull: {}\n", text(reply.body, "title", "the request was refused"));
    // The lines of an error are Lull's; elsewhere a new line is somebody's text.
    if (auto const errors = reply.body.find("errors"); errors != reply.body.end() && errors->is_array())
        for (json const& e : *errors) complain_lines("  ", text_of(e));
    else if (auto const detail = text(reply.body, "detail"); !detail.empty())
        complain("  {}\n", detail);
    if (auto const fix = text(reply.body, "fix"); !fix.empty()) complain("  to do: {}\n", fix);
    return failed;
}

int status(admin_client const& admin, std::string const& site, bool as_json) {
    admin_reply const reply = admin.call("GET", site.empty() ? "/status" : site_path(site));
    if (!reply.ok()) return print_problem(reply);
    if (as_json) {
        put(stdout, json_text(reply.body) + "\n");
        return 0;
    }
    if (!site.empty()) {
        print_site(reply.body);
        return 0;
    }
    for (json const& s : reply.body.value("stray_journals", json::array()))
        say("JOURNALED WRITES THAT NOBODY RUNS: {} of site {}, which is not configured, in {}\n"
            "  configure it again, then `lull journal {} --run`; or see `lull journal {}`, put them right by "
            "hand "
            "and delete the file\n",
            text(s, "writes"), text(s, "site"), text(s, "file"), text(s, "site"), text(s, "site"));
    print_open_files(reply.body.value("open_files", json::object()));
    auto const sites = reply.body.find("sites");
    if (sites != reply.body.end() && sites->is_array())
        for (json const& s : *sites) print_site(s);
    return 0;
}

int reload(admin_client const& admin) {
    admin_reply const reply = admin.call("POST", "/reload");
    if (!reply.ok()) return print_problem(reply);
    for (json const& w : reply.body.value("warnings", json::array())) complain_lines("", text_of(w));
    auto const changes = reply.body.find("changes");
    if (changes == reply.body.end() || changes->empty()) {
        say("reloaded, nothing has changed\n");
        return 0;
    }
    for (json const& c : *changes)
        say("{}{}\n", text(c, "what"),
            !c.value("reloadable", true)             ? "  NOT applied, needs a restart: " + text(c, "note")
            : c.value("new_connections_only", false) ? "  in force for new connections"
                                                     : "");
    return 0;
}

int check(std::string const& file, bool explain) {
    if (explain) {
        for (auto const& key : config::describe_keys())
            say("{}  ({}, default {}{})\n    {}\n", key.path, key.type,
                key.default_value.empty() ? "none" : key.default_value,
                key.reloadable ? "" : ", needs a restart", key.about);
        return 0;
    }
    std::vector<config::warning> warnings;
    auto const loaded = load_configured(file, warnings);
    for (auto const& w : warnings) complain_lines("", config::to_string(w));
    if (auto const* issues = std::get_if<std::vector<config::issue>>(&loaded)) {
        for (auto const& i : *issues) complain_lines("", config::to_string(i));
        return failed;
    }
    put(stdout, config::print_effective(*std::get<configured>(loaded).config));
    return 0;
}

}  // namespace lull::cli
