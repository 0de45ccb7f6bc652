#include "proxy/cli_progress.hpp"

#include "proxy/cli.hpp"
#include "proxy/cli_output.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <sys/ioctl.h>
#include <unistd.h>

namespace lull::cli {

namespace {

constexpr std::size_t most_writers = 3;
constexpr std::chrono::seconds after_interrupt{1};

/// Others than Lull's clients: what is waited for, and what is not.
std::string others_of(nlohmann::json const& site) {
    std::string out;
    auto const add = [&](char const* key, char const* text) {
        auto const list = site.find(key);
        if (list == site.end() || !list->is_array() || list->empty()) return;
        out += fmt::format(", {}: [{}]", text, cut(text_of(list->front()), 120));
        if (list->size() > 1) out += fmt::format(" and {} more", list->size() - 1);
    };
    // Without writers they are among what is waited for, which is shown then.
    if (site.contains("writers") && !site["writers"].empty())
        add("suspects", "waiting for the server to end");
    add("outsiders", "writing past Lull");
    return out;
}

std::string writers_of(nlohmann::json const& site) {
    auto const writers = site.find("writers");
    if (writers == site.end() || !writers->is_array() || writers->empty()) return {};
    std::string out =
        fmt::format(", waiting for {} that write{}:", writers->size(), writers->size() == 1 ? "s" : "");
    std::size_t n = 0;
    for (auto const& w : *writers) {
        if (n++ == most_writers) {
            out += " ...";
            break;
        }
        auto get = [&](char const* key) { return w.contains(key) ? text_of(w[key]) : std::string("?"); };
        out += fmt::format(" [pid {} {} {} since {}: {}]", get("pid"), get("user"), get("application_name"),
                           get("since"), cut(get("statement"), 60));
    }
    return out;
}

std::string waits_of(nlohmann::json const& site) {
    auto const waits = site.find("waiting_for");
    if (waits == site.end() || !waits->is_array() || waits->empty()) return {};
    std::string out = ", waiting for:";
    for (auto const& w : *waits) out += " [" + text_of(w) + "]";
    return out;
}

/// One less than there are: some terminals are in the next row behind the last one.
std::size_t terminal_columns() {
    winsize size{};
    if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 79;
    return size.ws_col - 1U;
}

}  // namespace

progress::progress() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void progress::show(std::string const& site, nlohmann::json const& status) {
    std::string line =
        site + ": " + (status.contains("state") ? text_of(status["state"]) : "?") + writers_of(status);
    if (!status.contains("writers") || status["writers"].empty()) line += waits_of(status);
    line += others_of(status);
    if (line == last_) return;
    last_ = line;
    if (terminal_)
        put(stderr, "\r\033[K" + cut(printable(line), terminal_columns()));
    else
        complain("{}\n", line);
    std::fflush(stderr);
}

void progress::end() {
    if (terminal_ && !last_.empty()) put(stderr, "\r\033[K");
    last_.clear();
    std::fflush(stderr);
}

std::optional<admin_reply> progress::ask(admin_client const& admin, std::string const& method,
                                         std::string const& target, nlohmann::json const& body) {
    bool said = false;
    auto const go_on = [&](std::chrono::milliseconds quiet) {
        // What a server that lives is about to answer is not given up, so that it is known.
        if (interrupt_guard::interrupted() && quiet >= after_interrupt) return false;
        if (!said && quiet >= admin_client::usual_patience) {
            said = true;
            end();
            complain("lull: no answer for {} s, still waiting; Ctrl-C ends the waiting\n",
                     std::chrono::duration_cast<std::chrono::seconds>(quiet).count());
        }
        return true;
    };
    try {
        return admin.call(method, target, body, go_on);
    } catch (admin_silent const&) {
        if (interrupt_guard::interrupted()) return std::nullopt;
        throw;
    }
}

}  // namespace lull::cli
