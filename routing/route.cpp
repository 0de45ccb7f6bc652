#include "routing/route.hpp"

namespace lull::routing {
namespace {

bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

bool same_word(std::string_view text, std::string_view word) {
    if (text.size() != word.size()) return false;
    for (std::size_t i = 0; i < word.size(); ++i) {
        char const c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
        if (c != word[i]) return false;
    }
    return true;
}

route of_word(std::string_view word) {
    if (same_word(word, "primary")) return route::primary;
    if (same_word(word, "replica")) return route::replica;
    return route::automatic;
}

/// Of what stands between /* and */.
route of_comment(std::string_view text) {
    text = trimmed(text);
    if (text.size() < 5 || !same_word(text.substr(0, 5), "lull:")) return route::automatic;
    return of_word(trimmed(text.substr(5)));
}

}  // namespace

route route_of_leading_comments(std::string_view sql) {
    for (;;) {
        while (!sql.empty() && is_blank(sql.front())) sql.remove_prefix(1);
        if (sql.starts_with("--")) {
            std::size_t const end = sql.find('\n');
            if (end == std::string_view::npos) return route::automatic;
            sql.remove_prefix(end + 1);
            continue;
        }
        if (!sql.starts_with("/*")) return route::automatic;
        std::size_t const end = sql.find("*/", 2);
        if (end == std::string_view::npos) return route::automatic;
        std::string_view const inside = sql.substr(2, end - 2);
        // Comments nest, and a hint is not one that has others in it.
        if (inside.find("/*") != std::string_view::npos) return route::automatic;
        if (route const found = of_comment(inside); found != route::automatic) return found;
        sql.remove_prefix(end + 2);
    }
}

route route_of_setting(std::string_view value) {
    return of_word(trimmed(value));
}

}  // namespace lull::routing
