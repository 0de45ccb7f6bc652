#include "routing/catalog_source.hpp"

#include "routing/source_words.hpp"

#include <algorithm>
#include <iterator>
#include <string>

namespace lull::routing {
namespace {

// Sorted. Types with a length, and what stands before a parenthesis in expressions and clauses.
constexpr std::string_view words[] = {
    "all",       "and",          "any",       "array",     "as",        "bit",      "by",        "case",
    "cast",      "char",         "character", "coalesce",  "conflict",  "cross",    "cube",      "dec",
    "decimal",   "distinct",     "else",      "elsif",     "except",    "exists",   "extract",   "filter",
    "float",     "from",         "greatest",  "group",     "grouping",  "having",   "if",        "in",
    "intersect", "interval",     "into",      "is",        "join",      "lateral",  "least",     "like",
    "limit",     "materialized", "not",       "nullif",    "numeric",   "offset",   "on",        "or",
    "order",     "over",         "overlay",   "partition", "perform",   "position", "precision", "query",
    "return",    "returns",      "rollup",    "row",       "select",    "setof",    "sets",      "some",
    "substring", "table",        "then",      "time",      "timestamp", "treat",    "trim",      "union",
    "unnest",    "using",        "values",    "varchar",   "varying",   "when",     "where",     "while",
    "with",      "within",
};
static_assert(std::is_sorted(std::begin(words), std::end(words)));

}  // namespace

bool is_word_of_sql(std::string_view word) {
    return std::binary_search(std::begin(words), std::end(words), word);
}

bool source_reaches(std::string_view source, source_judge const& judge, std::string& culprit) {
    std::size_t at = 0;
    auto const called_from = [&](std::size_t i) {
        i = skip_blanks(source, i);
        return i < source.size() && source[i] == '(';
    };
    std::string word;
    while (at < source.size()) {
        char const c = source[at];
        word.clear();
        if (c == '"') {
            std::size_t i = at + 1;
            for (; i < source.size(); ++i) {
                if (source[i] == '"') {
                    if (i + 1 >= source.size() || source[i + 1] != '"') break;
                    ++i;
                }
                word += source[i];
            }
            // What is within may be a word of its own, where the quote belongs to a string.
            bool const called = called_from(std::min(i + 1, source.size()));
            if (judge(word, called)) {
                culprit = word;
                return true;
            }
            ++at;
            continue;
        }
        if (!begins_word(c)) {
            ++at;
            continue;
        }
        std::size_t i = at;
        while (i < source.size() && goes_on(source[i])) ++i;
        // A bare word in quotes keeps its case.
        std::string_view const as_written = source.substr(at, i - at);
        word = folded(as_written);
        if (word == "u" && i < source.size() && source[i] == '&') {  // U&"...": names in other letters
            culprit = "U&";
            return true;
        }
        bool const called = called_from(i);
        if (judge(word, called) || (as_written != word && judge(as_written, false))) {
            culprit = word;
            return true;
        }
        at = i;
    }
    return false;
}

}  // namespace lull::routing
