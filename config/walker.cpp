#include "config/walker.hpp"

#include "config/print.hpp"

#include <algorithm>
#include <utility>

namespace lull::config {
namespace {

std::string_view form_of(node const& n) {
    switch (n.is) {
        case node::form::empty:
            return "nothing";
        case node::form::text:
            return "a single value";
        case node::form::list:
            return "a list";
        case node::form::map:
            return "a map";
    }
    return "";
}

std::string joined(std::vector<std::string_view> const& words) {
    std::string out;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
        out += words[i];
    }
    return out;
}

std::string unknown_fix(std::string const& key, std::vector<std::string_view> const& known) {
    if (key == "<<") return "merge keys are not supported: write the settings out";
    if (auto const near = nearest(key, known); !near.empty())
        return "did you mean " + std::string(near) + "?";
    std::string named;  // a place in an element that has a name: what holds for all comes first
    for (auto const& other : describe_keys()) {
        auto const dot = other.path.rfind('.');
        if (dot == std::string::npos || other.path.substr(dot + 1) != key) continue;
        auto const home = other.path.substr(0, dot);
        if (home.find('*') == std::string::npos) return "it belongs under " + home;
        if (named.empty()) named = "it belongs under " + home + " (* is a name of yours)";
    }
    return named.empty() ? "the keys here are " + joined(known) : named;
}

}  // namespace

void walker::complain(node const& at, std::string const& path, std::string message, std::string fix) {
    if (full()) return;
    out_.issues.push_back(
        {out_.positions.file, at.line, at.column, path, std::move(message), std::move(fix)});
}

void walker::warn(node const& at, std::string const& path, std::string message, std::string fix) {
    if (out_.warnings.size() >= most_issues) return;
    out_.warnings.push_back(
        {out_.positions.file, at.line, at.column, path, std::move(message), std::move(fix)});
}

bool walker::enter(node const& n, std::string const& path) {
    if (n.is != node::form::map && n.is != node::form::empty) {
        auto const last = path.substr(path.rfind('.') + 1);
        std::string fix = "write the keys of " + last + " below it, indented";
        if (n.is == node::form::list) fix = "remove the dashes or brackets: " + fix;
        if (path.empty()) fix = "begin with listen, clusters and sites, as in deploy/lull.yaml";
        complain(n, path, "expected settings (`key: value`), found " + std::string(form_of(n)),
                 std::move(fix));
        return false;
    }
    level opened{&n, path, {}, {}};
    for (std::size_t i = 0; i < n.entries.size(); ++i) {
        auto const& key = *n.entries[i].first;
        auto const [it, fresh] = opened.index.emplace(key.text, i);
        if (fresh) continue;
        auto const& first = *n.entries[it->second].first;
        complain(key, join_path(path, key.text), "this key is already on line " + std::to_string(first.line),
                 "keep one of the two");
    }
    levels_.push_back(std::move(opened));
    return true;
}

void walker::leave() {
    auto const closed = std::move(levels_.back());
    levels_.pop_back();
    if (closed.any_key) return;
    for (auto const& [key, value] : closed.map->entries) {
        if (full()) return;
        if (std::find(closed.known.begin(), closed.known.end(), key->text) == closed.known.end())
            complain(*key, join_path(closed.path, key->text), "unknown key",
                     unknown_fix(key->text, closed.known));
    }
}

node const* walker::ask(std::string_view key, std::string& path) {
    auto& top = levels_.back();
    top.known.push_back(key);
    path = join_path(top.path, key);
    auto const it = top.index.find(key);
    if (it == top.index.end()) return nullptr;
    auto const& [name, value] = top.map->entries[it->second];
    auto const& place = value->is == node::form::text ? *value : *name;
    out_.positions.at[path] = {place.line, place.column};
    return value.get();
}

bool walker::is_text(node const& n, std::string const& path, std::string_view example) {
    if (n.is == node::form::text) return true;
    std::string fix = "write a single value";
    if (n.is == node::form::empty) fix = "write a value, or remove the line to have the default";
    // `primary: [::1]` is a list to YAML.
    if (n.is == node::form::list && example.find(':') != std::string_view::npos)
        fix = "write one address, as in " + std::string(example) + "; put one with brackets in quotes";
    complain(n, path, "expected a single value, found " + std::string(form_of(n)), std::move(fix));
    return false;
}

void walker::not_a_choice(node const& n, std::string const& path,
                          std::vector<std::string_view> const& names) {
    auto const near = nearest(n.text, names);
    complain(n, path, shown(n.text) + " is not one of " + joined(names),
             near.empty() ? "write " + joined(names) : "did you mean " + std::string(near) + "?");
}

node walker::place_of_open_map() const {
    auto const& top = levels_.back();
    auto const at = out_.positions.find(top.path);
    node place;
    place.line = at.line > 0 ? at.line : top.map->line;
    place.column = at.line > 0 ? at.column : top.map->column;
    return place;
}

}  // namespace lull::config
