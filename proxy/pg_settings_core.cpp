#include "proxy/pg_settings_core.hpp"

#include <algorithm>

namespace lull {

namespace {

auto position(setting_map const& map, std::string_view name) {
    return std::lower_bound(map.begin(), map.end(), name,
                            [](auto const& entry, std::string_view n) { return entry.first < n; });
}

}  // namespace

setting_interner::setting_interner() : none_(std::make_shared<setting_map const>()) {
    known_.emplace(setting_map{}, none_);
}

session_settings setting_interner::intern(setting_map map) {
    auto [entry, fresh] = known_.try_emplace(std::move(map));
    if (session_settings existing = entry->second.lock()) return existing;
    auto made = std::make_shared<setting_map const>(entry->first);
    entry->second = made;
    if (known_.size() > prune_at_) {
        std::erase_if(known_, [](auto const& e) { return e.second.expired(); });
        prune_at_ = std::max<std::size_t>(256, known_.size() * 2);
    }
    return made;
}

session_settings setting_interner::with(session_settings const& from, std::string_view name,
                                        std::string_view text) {
    setting_map map = *from;
    auto at = position(map, name);
    if (at != map.end() && at->first == name) {
        if (at->second == text) return from;
        map[static_cast<std::size_t>(at - map.begin())].second = text;
    } else {
        map.insert(at, {std::string(name), std::string(text)});
    }
    return intern(std::move(map));
}

session_settings setting_interner::without(session_settings const& from, std::string_view name) {
    auto at = position(*from, name);
    if (at == from->end() || at->first != name) return from;
    setting_map map = *from;
    map.erase(map.begin() + (at - from->begin()));
    return intern(std::move(map));
}

std::string ascii_lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::string const* find_setting(session_settings const& in, std::string_view name) {
    auto at = position(*in, name);
    return at != in->end() && at->first == name ? &at->second : nullptr;
}

std::string quote_setting_name(std::string_view name) {
    std::string out = "\"";
    for (char c : name) {
        if (c == '.')
            out += "\".\"";
        else if (c == '"')
            out += "\"\"";
        else
            out += c;
    }
    return out += '"';
}

std::string quote_constant(std::string_view value) {
    bool const escape = value.find('\\') != std::string_view::npos;
    std::string out = escape ? "E'" : "'";
    for (char c : value) {
        if (c == '\'' || c == '\\') out += c;
        out += c;
    }
    return out += '\'';
}

std::string startup_setting_sql(std::string_view name, std::string_view value) {
    return "SELECT pg_catalog.set_config(" + quote_constant(name) + "," + quote_constant(value) + ",false)";
}

}  // namespace lull
