#include "config/issue.hpp"

#include <algorithm>

namespace lull::config {
namespace {

constexpr char hex[] = "0123456789abcdef";

template <class Finding>
std::string told(Finding const& f, std::string_view kind, std::string_view before_fix, std::string_view end) {
    std::string out = f.file;
    if (f.line > 0) out += ":" + std::to_string(f.line) + ":" + std::to_string(f.column);
    if (!out.empty()) out += ": ";
    out += kind;
    out += ": ";
    if (!f.path.empty()) out += f.path + ": ";
    out += f.message;
    if (!f.fix.empty()) out.append(before_fix).append(f.fix).append(end);
    return out;
}

bool is_word(std::string_view text) {
    return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-' || c == '*';
    });
}

std::string quoted(std::string_view text, std::size_t longest) {
    std::string out = "\"";
    for (std::size_t i = 0; i < text.size(); ++i) {
        auto const c = static_cast<unsigned char>(text[i]);
        // Never cut inside a character: 10xxxxxx continues one.
        if (i >= longest && (c & 0xC0) != 0x80) {
            out += "...";
            break;
        }
        if (c < 0x20 || c == 0x7F) {
            out += "\\x";
            out += hex[c >> 4];
            out += hex[c & 15];
        } else {
            if (c == '"' || c == '\\') out += '\\';
            out += text[i];
        }
    }
    return out + "\"";
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        for (std::size_t j = 1; j <= b.size(); ++j) {
            std::size_t const replaced = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replaced});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a.size()][b.size()];
}

}  // namespace

std::string to_string(issue const& i) {
    return told(i, "error", "\n    fix: ", "");
}
std::string to_string(warning const& w) {
    return told(w, "warning", "\n    fix: ", "");
}
std::string in_one_line(issue const& i) {
    return told(i, "error", " (fix: ", ")");
}
std::string in_one_line(warning const& w) {
    return told(w, "warning", " (fix: ", ")");
}

std::string join_path(std::string_view parent, std::string_view segment) {
    std::string out(parent);
    if (!out.empty()) out += '.';
    // Room for every name that the server takes (63 bytes), each of them escaped: paths must not run
    // together.
    return out + (is_word(segment) ? std::string(segment) : quoted(segment, 256));
}

position positions::find(std::string_view path) const {
    while (!path.empty()) {
        if (auto it = at.find(path); it != at.end()) return it->second;
        auto const cut = path.find_last_of(".[");
        path = cut == std::string_view::npos ? std::string_view{} : path.substr(0, cut);
    }
    if (at.empty()) return {};
    return {1, 1};  // of the whole file: something that should be there is not
}

std::string_view nearest(std::string_view typed, std::vector<std::string_view> const& candidates) {
    // Longer than any key of ours: not a slip of the finger, and the table below grows with the square.
    if (typed.size() > 64) return {};
    std::string_view best;
    std::size_t least = std::max<std::size_t>(1, typed.size() / 3) + 1;
    for (auto candidate : candidates) {
        if (candidate.empty() || candidate.size() > 64) continue;
        auto const d = distance(typed, candidate);
        if (d < least && d < candidate.size()) {
            least = d;
            best = candidate;
        }
    }
    return best;
}

std::string shown(std::string_view text) {
    return quoted(text, 60);
}

}  // namespace lull::config
