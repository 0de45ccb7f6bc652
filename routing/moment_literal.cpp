#include "routing/moment_literal.hpp"

#include <algorithm>

namespace lull::routing {
namespace {

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (static_cast<unsigned char>(c) & 0x80) != 0;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// What dates are written with beside letters and digits, and ranges and arrays of them.
bool is_between(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || std::string_view(":.,/+-[](){}\"").find(c) != std::string_view::npos; }

bool is_moment(std::string_view word) {
    for (std::string_view one : {"now", "today", "tomorrow", "yesterday"})
        if (std::ranges::equal(word, one, [](char a, char b) { return (a | 0x20) == b; })) return true;
    return false;
}

/// A quote, or a dollar that is no parameter's.
std::size_t next_quote(std::string_view sql, std::size_t from) {
    for (std::size_t at = from; at < sql.size(); ++at)
        if (sql[at] == '\'' || (sql[at] == '$' && (at + 1 == sql.size() || !is_digit(sql[at + 1])))) return at;
    return std::string_view::npos;
}

}  // namespace

bool has_moment_literal(std::string_view sql) {
    for (std::size_t at = next_quote(sql, 0); at != std::string_view::npos; at = next_quote(sql, at)) {
        bool found = false;
        ++at;
        while (at < sql.size() && (is_letter(sql[at]) || is_digit(sql[at]) || is_between(sql[at]))) {
            std::size_t const begin = at;
            while (at < sql.size() && is_letter(sql[at])) ++at;
            if (at == begin)
                ++at;
            else
                found = found || (is_moment(sql.substr(begin, at - begin)) && (at == sql.size() || sql[at] != '('));  // else it is a call
        }
        bool const ends = at < sql.size() && (sql[at] == '\'' || sql[at] == '$');
        if (found && ends) return true;
    }
    return false;
}

}  // namespace lull::routing
