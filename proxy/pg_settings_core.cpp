#include "proxy/pg_settings_core.hpp"

#include <algorithm>

namespace lull {

namespace {

std::size_t bytes_of(setting_map const& map) {
    std::size_t bytes = 0;
    for (auto const& [name, sql] : map) bytes += name.size() + sql.size() + sizeof(map[0]);
    return bytes;
}

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
    if (fresh) key_bytes_ += bytes_of(entry->first);
    if (known_.size() > prune_at_ || key_bytes_ > prune_at_bytes_) {
        std::erase_if(known_, [](auto const& e) { return e.second.expired(); });
        prune_at_ = std::max<std::size_t>(256, known_.size() * 2);
        key_bytes_ = 0;
        for (auto const& e : known_) key_bytes_ += bytes_of(e.first);
        prune_at_bytes_ = std::max(least_prune_bytes, key_bytes_ * 2);
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

bool decides_literals(std::string_view name) {
    for (std::string_view one : {"timezone", "datestyle", "intervalstyle", "standard_conforming_strings",
                                 "client_encoding", "xmloption", "lc_monetary", "timezone_abbreviations",
                                 "transform_null_equals", "array_nulls", "backslash_quote"})
        if (name == one) return true;
    return false;
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
