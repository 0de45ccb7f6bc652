#include "proxy/cli_progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace lull::cli {

namespace {

constexpr std::size_t most_writers = 3;

/// Others than Lull's clients: what is waited for, and what is not.
std::string others_of(nlohmann::json const& site) {
    std::string out;
    auto const add = [&](char const* key, char const* text) {
        auto const list = site.find(key);
        if (list == site.end() || !list->is_array() || list->empty()) return;
        out += fmt::format(", {}: [{}]", text, text_of(list->front()).substr(0, 120));
        if (list->size() > 1) out += fmt::format(" and {} more", list->size() - 1);
    };
    // Without writers they are among what is waited for, which is shown then.
    if (site.contains("writers") && !site["writers"].empty())
        add("suspects", "waiting for the server to end");
    add("outsiders", "writing past Lull");
    return printable(out);
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
                           get("since"), get("statement").substr(0, 60));
    }
    return printable(out);
}

std::string waits_of(nlohmann::json const& site) {
    auto const waits = site.find("waiting_for");
    if (waits == site.end() || !waits->is_array() || waits->empty()) return {};
    std::string out = ", waiting for:";
    for (auto const& w : *waits) out += " [" + text_of(w) + "]";
    return printable(out);
}

}  // namespace

std::string printable(std::string text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const c = static_cast<unsigned char>(text[i]);
        if (c < 0x20 || c == 0x7f) text[i] = ' ';
        // U+0080 to U+009F, which terminals take for escape sequences.
        bool const c1 = c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
        if (c1) text[i] = text[i + 1] = ' ';
    }
    return text;
}

std::string text_of(nlohmann::json const& value) {
    if (value.is_null()) return "";
    return value.is_string() ? value.get<std::string>() : value.dump();
}

progress::progress() : terminal_(::isatty(STDERR_FILENO) == 1) {}

void progress::show(std::string const& site, nlohmann::json const& status) {
    std::string line =
        site + ": " + (status.contains("state") ? text_of(status["state"]) : "?") + writers_of(status);
    if (!status.contains("writers") || status["writers"].empty()) line += waits_of(status);
    line += others_of(status);
    if (line == last_) return;
    last_ = line;
    if (terminal_)
        fmt::print(stderr, "\r\033[K{}", line.substr(0, 200));
    else
        fmt::print(stderr, "{}\n", line);
    std::fflush(stderr);
}

void progress::end() {
    if (terminal_ && !last_.empty()) fmt::print(stderr, "\r\033[K");
    last_.clear();
    std::fflush(stderr);
}

}  // namespace lull::cli
