#include "proxy/pg_settings_core.hpp"

#include "config/ascii.hpp"
#include "routing/ending_settings.hpp"
#include "routing/sql_classifier.hpp"

#include <algorithm>
#include <charconv>

namespace lull {

namespace {

std::size_t bytes_of(setting_map const& map) {
    std::size_t bytes = 0;
    for (auto const& [name, value] : map) bytes += name.size() + value.size() + sizeof(map[0]);
    return bytes;
}

auto position(setting_map const& map, std::string_view name) {
    return std::lower_bound(map.begin(), map.end(), name,
                            [](auto const& entry, std::string_view n) { return entry.first < n; });
}

// Around the encoding of a value; in no setting of PostgreSQL's.
constexpr char encoding_mark = '\0';

bool has_high_bit(std::string_view text) {
    return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

bool is_unsafe_encoding(std::string_view encoding) {
    for (std::string_view unsafe : {"SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"})
        if (encoding == unsafe) return true;
    return false;
}

/// Between quotes every session reads it as what it is.
bool is_plain(std::string_view value) {
    return !has_high_bit(value) && value.find('\\') == std::string_view::npos &&
           value.find(encoding_mark) == std::string_view::npos;
}

bool is_plain_name(std::string_view name) {
    return !name.empty() && std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
    });
}

/// Each part of "app.user" quoted.
std::string quoted_name(std::string_view plain_name) {
    std::string out = "\"";
    for (char c : plain_name) out += c == '.' ? std::string("\".\"") : std::string(1, c);
    return out += '"';
}

std::string quoted(std::string_view plain) {
    std::string out = "'";
    for (char c : plain) {
        if (c == '\'') out += c;
        out += c;
    }
    return out += '\'';
}

/// Any value as an expression.
std::string constant(std::string_view value) {
    if (is_plain(value)) return quoted(value);
    std::string encoding = "pg_catalog.getdatabaseencoding()";
    if (value.front() == encoding_mark) {
        std::size_t const end = value.find(encoding_mark, 1);
        std::string_view const known = value.substr(1, end - 1);
        value.remove_prefix(end + 1);
        if (!known.empty() && is_plain(known)) encoding = quoted(known);
    }
    static constexpr char digits[] = "0123456789abcdef";
    std::string out = "pg_catalog.convert_from(pg_catalog.decode('";
    for (unsigned char c : value) {
        out += digits[c >> 4];
        out += digits[c & 15];
    }
    return out + "','hex')," + encoding + ")";
}

}  // namespace

setting_set::setting_set(setting_map const& all) : setting_map(all) {
    if (std::string const* made = find_setting(all, default_isolation)) {
        serializable = ascii_lower(*made) == "serializable";
        repeatable = ascii_lower(*made) == "repeatable read";
    }
    if (std::string const* made = find_setting(all, routing::route_setting)) route = routing::route_of_setting(*made);
    if (std::string const* told = find_setting(all, "standard_conforming_strings")) standard_conforming_strings = *told == "on";
    if (std::string const* told = find_setting(all, "client_encoding")) unsafe_encoding = is_unsafe_encoding(*told);
    if (std::string const* told = find_setting(all, "is_superuser")) superuser = *told == "on";
}

setting_interner::setting_interner() : none_(std::make_shared<setting_set const>()) {
    known_.emplace(setting_map{}, none_);
}

session_settings setting_interner::intern(setting_map map) {
    auto [entry, fresh] = known_.try_emplace(std::move(map));
    if (session_settings existing = entry->second.lock()) return existing;
    auto made = std::make_shared<setting_set const>(entry->first);
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
                                        std::string_view value) {
    if (std::string const* has = find_setting(from, name); has && *has == value) return from;
    setting_map map = *from;
    auto const at = map.begin() + (position(map, name) - map.cbegin());
    if (at != map.end() && at->first == name)
        at->second = value;
    else
        map.emplace(at, name, value);
    return intern(std::move(map));
}

session_settings setting_interner::without(session_settings const& from, std::string_view name) {
    auto at = position(*from, name);
    if (at == from->end() || at->first != name) return from;
    setting_map map = *from;
    map.erase(map.begin() + (at - from->begin()));
    return intern(std::move(map));
}

bool decides_literals(std::string_view name) {
    for (std::string_view one : {"timezone", "datestyle", "intervalstyle", "standard_conforming_strings",
                                 "client_encoding", "xmloption", "lc_monetary", "timezone_abbreviations",
                                 "transform_null_equals", "array_nulls", "backslash_quote"})
        if (name == one) return true;
    return false;
}

bool tells_who(std::string_view name) {
    return std::ranges::find(identity_settings, name) != std::end(identity_settings);
}

bool decides_names(std::string_view name) {
    return name == "search_path" || tells_who(name);
}

void sort_settings(setting_map& all) {
    if (all.size() < 2) return;  // as a rule: sorting asks for memory
    std::ranges::stable_sort(all, {}, &setting_map::value_type::first);
    auto const same = [](auto const& one, auto const& other) { return one.first == other.first; };
    all.erase(all.begin(), std::unique(all.rbegin(), all.rend(), same).base());
}

std::string const* find_setting(setting_map const& in, std::string_view name) {
    auto at = position(in, name);
    return at != in.end() && at->first == name ? &at->second : nullptr;
}

std::string const* find_setting(session_settings const& in, std::string_view name) {
    return find_setting(*in, name);
}

std::string setting_value(std::string_view bytes, std::string_view encoding) {
    if (!has_high_bit(bytes)) return std::string(bytes);
    std::string out(1, encoding_mark);
    return out.append(encoding).append(1, encoding_mark).append(bytes);
}

std::string setting_sql(std::string_view name, std::string_view value) {
    // Of a list of names SET would make one name; and it takes constants only.
    if (is_plain_name(name) && is_plain(value) && !routing::is_list_of_names(name))
        return "SET " + quoted_name(name) + " TO " + quoted(value);
    return "SELECT pg_catalog.set_config(" + constant(name) + "," + constant(value) + ",false)";
}

std::vector<std::string> identity_sql(setting_map const& of) {
    std::vector<std::string> out;
    for (std::string_view name : identity_settings)
        if (std::string const* value = find_setting(of, name)) out.push_back(setting_sql(name, *value));
    return out;
}

namespace {

/// What is turned off is what this server has.
unsigned version_of(setting_map const& reported) {
    unsigned version = 14;  // those of later ones are not there, perhaps
    if (std::string const* said = find_setting(reported, "server_version"))
        std::from_chars(said->data(), said->data() + said->size(), version);
    return version;
}

}  // namespace

session_settings with_staying(setting_interner& settings, session_settings from, setting_map const& reported) {
    for (routing::ending_setting const& s : routing::ending_settings)
        if (s.since <= version_of(reported)) from = settings.with(from, s.name, s.off);
    return from;
}

std::string staying_sql(setting_map const& reported, char status) {
    std::string sql;
    for (routing::ending_setting const& s : routing::ending_settings)
        if (s.since <= version_of(reported))
            sql.append(status == 'I' ? "SET " : "SET LOCAL ").append(s.name).append(" TO '").append(s.off).append("';");
    return sql;
}

std::string setting_difference(setting_map const& from, setting_map const& to) {
    std::string undo;
    std::string make;
    bool someone_else = false;
    auto old = from.begin();
    auto wanted = to.begin();
    while (old != from.end() || wanted != to.end()) {
        bool const gone = wanted == to.end() || (old != from.end() && old->first < wanted->first);
        bool const both = !gone && old != from.end() && old->first == wanted->first;
        setting_map::value_type const& entry = gone ? *old : *wanted;
        bool const differs = !both || old->second != wanted->second;
        if (differs && tells_who(entry.first)) {
            someone_else = true;
        } else if (gone) {
            undo += is_plain_name(entry.first) ? "RESET " + quoted_name(entry.first) + ";"
                                               : "SELECT pg_catalog.set_config(" + constant(entry.first) + ",NULL,false);";
        } else if (differs) {
            make += setting_sql(entry.first, entry.second) + ";";
        }
        if (gone || both) ++old;
        if (!gone) ++wanted;
    }
    if (undo.empty() && make.empty() && !someone_else) return {};
    // Everything else is undone and made as who has logged in: another may not be allowed to.
    std::string as_before, as_wanted;
    for (auto name = std::rbegin(identity_settings); name != std::rend(identity_settings); ++name)
        if (find_setting(from, *name)) as_before += "RESET " + quoted_name(*name) + ";";
    for (std::string const& sql : identity_sql(to)) as_wanted += sql + ";";
    return as_before + undo + make + as_wanted;
}

}  // namespace lull
