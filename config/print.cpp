#include "config/print.hpp"

#include "config/rows.hpp"

#include <algorithm>
#include <cstddef>

namespace lull::config {

std::string print_effective(config const& c) {
    std::string out;
    std::vector<std::string> open;  // the sections that the line before stood in
    auto const rows = rows_of(c);
    auto const has_content = [&](std::size_t i) {
        // The keys of an element follow it directly.
        auto const& element = rows[i].segments;
        for (++i; i < rows.size() && rows[i].segments.size() > element.size(); ++i) {
            if (!std::equal(element.begin(), element.end(), rows[i].segments.begin())) break;
            if (!rows[i].value.empty()) return true;
        }
        return false;
    };
    for (std::size_t i = 0; i < rows.size(); ++i) {
        auto const& r = rows[i];
        if (r.element ? has_content(i) : r.value.empty()) continue;
        auto const depth = r.segments.size() - 1;
        auto const same =
            static_cast<std::size_t>(std::mismatch(open.begin(), open.end(), r.segments.begin(),
                                                   r.segments.begin() + static_cast<std::ptrdiff_t>(depth))
                                         .first -
                                     open.begin());
        for (auto level = same; level < depth; ++level)
            out += std::string(2 * level, ' ') + yaml_text(r.segments[level]) + ":\n";
        open.assign(r.segments.begin(), r.segments.begin() + static_cast<std::ptrdiff_t>(depth));
        auto const value = r.element ? "{}" : r.secret ? yaml_text(redacted) : r.value;
        out += std::string(2 * depth, ' ') + yaml_text(r.segments.back()) + ": " + value + "\n";
    }
    return out;
}

std::vector<effective_key> effective_keys(config const& c) {
    // The defaults of what stands under names of the operator's choice are under "*".
    auto const same_key = [](row const& known, row const& r) {
        return std::equal(known.segments.begin(), known.segments.end(), r.segments.begin(), r.segments.end(),
                          [](auto const& a, auto const& b) { return a == b || a == "*"; });
    };
    auto const known = rows_of(config{}, true);
    std::vector<effective_key> out;
    for (auto const& r : rows_of(c)) {
        if (r.element || r.value.empty()) continue;
        effective_key key;
        key.path = path_of(r);
        key.value = r.secret ? yaml_text(redacted) : r.value;
        key.reloadable = !r.restart;
        for (auto const& k : known)
            if (!k.secret && same_key(k, r)) key.default_value = k.value;
        out.push_back(std::move(key));
    }
    return out;
}

std::vector<key_description> describe_keys() {
    std::vector<key_description> out;
    for (auto const& r : rows_of(config{}, true)) {
        key_description d;
        d.path = path_of(r);
        d.type = r.type;
        d.about = r.about;
        d.reloadable = !r.restart;
        if (!r.note.empty()) {
            d.default_value = r.note;
        } else if (r.required) {
            d.default_value = "required";
        } else {
            d.default_value = r.value.empty() ? "none" : r.value;
        }
        out.push_back(std::move(d));
    }
    return out;
}

}  // namespace lull::config
