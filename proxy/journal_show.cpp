#include "proxy/journal_show.hpp"

#include "proxy/control.hpp"
#include "proxy/journal_format_core.hpp"

#include <fstream>
#include <iterator>
#include <vector>

namespace lull {

namespace {

using nlohmann::json;

constexpr std::size_t most_shown = 100;

std::string hex(std::string_view bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out = "\\x";
    for (char c : bytes) {
        out += digits[static_cast<unsigned char>(c) >> 4];
        out += digits[static_cast<unsigned char>(c) & 15];
    }
    return out;
}

/// Of Bind (manual, "Message Formats"): formats, then values. Binary ones are shown as bytes.
json parameters_of(std::string_view rest) {
    json out = json::array();
    bool bad = false;
    auto number = [&](std::size_t bytes) {
        std::uint32_t value = 0;
        if (rest.size() < bytes) {
            bad = true;
            return value;
        }
        for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(rest[i]);
        rest.remove_prefix(bytes);
        return value;
    };
    std::vector<std::uint32_t> formats(number(2));
    for (auto& f : formats) f = number(2);
    std::uint32_t const count = number(2);
    for (std::uint32_t i = 0; i < count && !bad; ++i) {
        std::uint32_t const size = number(4);
        if (size == 0xffffffff) {
            out.push_back(nullptr);
            continue;
        }
        if (rest.size() < size) break;
        bool const binary = formats.size() == 1 ? formats[0] == 1 : i < formats.size() && formats[i] == 1;
        out.push_back(binary ? hex(rest.substr(0, size)) : std::string(rest.substr(0, size)));
        rest.remove_prefix(size);
    }
    return out;
}

char const* name_of(journal_result r) {
    switch (r) {
        case journal_result::done:
            return "done";
        case journal_result::failed:
            return "failed";
        case journal_result::unknown:
            return "unknown";
        case journal_result::differs:
            return "done otherwise";
    }
    return "?";
}

}  // namespace

void show_journal(json& to, std::string const& file, shown_entries which, shown_most most) {
    json& out = to["entries"] = json::array();
    to["more"] = 0;
    to["damage"] = "";
    std::ifstream in(file, std::ios::binary);
    if (!in) return;
    std::string const bytes{std::istreambuf_iterator<char>(in), {}};
    journal_contents const contents = read_journal(bytes);
    to["damage"] = contents.damage;
    std::size_t more = 0;
    for (journal_entry const& e : contents.entries) {
        auto const verdict = contents.verdicts.find(e.number);
        bool const known = verdict != contents.verdicts.end();
        if (which == shown_entries::not_done && known && verdict->second.result == journal_result::done)
            continue;
        if (most == shown_most::some && out.size() == most_shown) {
            ++more;
            continue;
        }
        json one{
            {"number", e.number},
            {"received", rfc3339(routing::wall_time(std::chrono::duration_cast<routing::wall_time::duration>(
                             std::chrono::microseconds(e.received_us))))},
            {"database", e.database},
            {"user", e.user},
            {"application_name", e.application_name},
            {"settings", e.settings},
            {"statement", e.text},
            {"parameters", e.extended ? parameters_of(e.bind_rest) : json::array()},
            {"state", known ? name_of(verdict->second.result) : "waiting"}};
        if (known && verdict->second.result != journal_result::done) {
            one["sqlstate"] = verdict->second.sqlstate;
            one["error"] = verdict->second.message;
        }
        if (contents.intent && contents.intent->number == e.number) {
            one["state"] = "committing";
            one["xid"] = contents.intent->xid;
        }
        out.push_back(std::move(one));
    }
    to["more"] = more;
}

}  // namespace lull
