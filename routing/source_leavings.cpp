#include "routing/source_leavings.hpp"

#include "routing/catalog_source.hpp"
#include "routing/source_words.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace lull::routing {
namespace {

// Texts in texts; each level doubles its quotes.
constexpr int deepest_text = 6;
// Of a call, in which its last argument is looked for.
constexpr std::size_t longest_call = 2048;

template <std::size_t n>
bool is_one_of(std::string_view word, std::array<std::string_view, n> const& words) {
    return std::ranges::find(words, word) != words.end();
}

/// Of the session, not of the transaction; to release one changes what is there, too.
bool is_session_lock(std::string_view name) {
    return (name.starts_with("pg_advisory_") || name.starts_with("pg_try_advisory_")) &&
           name.find("_xact_") == name.npos;
}

/// Behind the quote that ends what begins at `i`, or behind all.
std::size_t end_of_quoted(std::string_view text, std::size_t i, bool escapes) {
    char const quote = text[i];
    for (++i; i < text.size(); ++i) {
        if (escapes && text[i] == '\\') {
            ++i;
        } else if (text[i] == quote) {
            if (i + 1 >= text.size() || text[i + 1] != quote) return i + 1;
            ++i;
        }
    }
    return text.size();
}

/// $tag$, or nothing.
std::string_view dollar_quote(std::string_view text, std::size_t i) {
    std::size_t end = i + 1;
    while (end < text.size() && text[end] != '$' && goes_on(text[end])) ++end;
    bool const tagged = end < text.size() && text[end] == '$' && (end == i + 1 || begins_word(text[i + 1]));
    return tagged ? text.substr(i, end + 1 - i) : std::string_view();
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

/// Whether set_config(name, value, is_local), whose parenthesis is at `i`, is certainly for the transaction
/// only.
bool is_local_call(std::string_view text, std::size_t i) {
    text = text.substr(0, std::min(text.size(), i + longest_call));
    std::size_t last = i + 1;
    int depth = 0;
    int commas = 0;
    while (i < text.size()) {
        char const c = text[i];
        if (c == '\'') {
            i = end_of_quoted(text, i, i > 0 && (text[i - 1] == 'e' || text[i - 1] == 'E'));
            continue;
        }
        depth += c == '(' ? 1 : c == ')' ? -1 : 0;
        if (depth == 0) break;
        ++i;
        if (c != ',' || depth > 1) continue;
        ++commas;
        last = i;
    }
    if (i >= text.size() || commas != 2) return false;
    std::string const argument = folded(trimmed(text.substr(last, i - last)));
    std::string_view value = argument;
    if (value.starts_with("is_local")) value = trimmed(value.substr(8));
    if (value.starts_with("=>") || value.starts_with(":=")) value = trimmed(value.substr(2));
    return is_one_of(value, std::array<std::string_view, 6>{"true", "'true'", "'t'", "'on'", "'yes'", "'1'"});
}

class code_reader {
  public:
    explicit code_reader(call_sink const& called) : called_(called) {}

    /// `code`: statements begin in it; otherwise it is a text that may come to be run.
    void read(std::string_view text, bool code, int depth) {
        begins_ = code;
        std::size_t i = 0;
        while ((i = skip_blanks(text, i)) < text.size()) {
            char const c = text[i];
            if (c == '\'') {
                i = quoted(text, i, false, depth);
            } else if ((c == 'e' || c == 'E') && i + 1 < text.size() && text[i + 1] == '\'') {
                i = quoted(text, i + 1, true, depth);
            } else if (c == '$' && !dollar_quote(text, i).empty()) {
                i = dollars(text, i, depth);
            } else if (c == '"') {
                std::size_t const end = end_of_quoted(text, i, false);
                std::size_t const inside = i + 1;
                word(std::string(text.substr(inside, std::max(end - 1, inside) - inside)), true, text, end,
                     code);
                i = end;
            } else if (begins_word(c)) {
                std::size_t end = i;
                while (end < text.size() && goes_on(text[end])) ++end;
                word(folded(text.substr(i, end - i)), false, text, end, code);
                i = end;
            } else {
                sign(c, code);
                ++i;
            }
        }
    }

    leavings found() {
        end_statement();
        return found_;
    }

  private:
    // What a text would be here.
    enum class expects : std::uint8_t { data, code, language };

    std::size_t quoted(std::string_view text, std::size_t i, bool escapes, int depth) {
        std::size_t const end = end_of_quoted(text, i, escapes);
        std::string inside;
        for (std::size_t at = i + 1; at + 1 < end; ++at) {
            bool const twice = text[at] == '\'' || (escapes && text[at] == '\\');
            if (twice && at + 2 < end) ++at;
            inside += text[at];
        }
        within(inside, depth);
        return end;
    }

    std::size_t dollars(std::string_view text, std::size_t i, int depth) {
        std::string_view const quote = dollar_quote(text, i);
        std::size_t const from = i + quote.size();
        std::size_t const to = text.find(quote, from);
        within(text.substr(from, to == text.npos ? to : to - from), depth);
        return to == text.npos ? text.size() : to + quote.size();
    }

    void within(std::string_view inside, int depth) {
        bool const code = expects_ == expects::code;
        expects_ = expects::data;
        forget_words();
        if (depth < deepest_text) read(inside, code, depth + 1);
        begins_ = false;
        expects_ = expects::data;
        forget_words();
    }

    void forget_words() {
        before_.clear();
        earlier_.clear();
    }

    void sign(char c, bool code) {
        if (c == ';') end_statement();
        begins_ = code && c == ';';
        if (c != '(' || before_ != "format") expects_ = expects::data;
        if (c != '.' && c != '(') forget_words();
    }

    void end_statement() {
        if (makes_temporary_) found_.add(leaving::temporary);
        makes_temporary_ = false;
    }

    void word(std::string name, bool quoted, std::string_view text, std::size_t end, bool code) {
        bool const begins = begins_ && !quoted;
        begins_ = code && !quoted &&
                  is_one_of(name, std::array<std::string_view, 4>{"begin", "then", "else", "loop"});
        std::size_t const next = skip_blanks(text, end);
        bool const called = next < text.size() && text[next] == '(';
        if (begins) first_word(name, text, next);
        if (!quoted) any_word(name, text, next);
        if (called && is_session_lock(name)) found_.add(leaving::lock);
        if (called) found_.add(lasting_leaves(name));
        if (called && code) {
            if (name == "set_config") {
                if (!is_local_call(text, next)) found_.add(leaving::setting);
            } else if (!is_word_of_sql(name)) {
                called_(name);
            }
        }
        expect_behind(name);
        earlier_ = std::exchange(before_, std::move(name));
    }

    void expect_behind(std::string_view name) {
        if (name == "execute" || name == "do")
            expects_ = expects::code;
        else if (name == "language" && before_ == "do")
            expects_ = expects::language;
        else if (expects_ == expects::language)
            expects_ = expects::code;
        else if (name != "format")
            expects_ = expects::data;
    }

    /// Where a statement begins. The next token is at `next`.
    void first_word(std::string_view name, std::string_view text, std::size_t next) {
        std::string const object = word_at(text, next);
        bool const names =
            !object.empty() && !is_one_of(object, std::array<std::string_view, 3>{"end", "else", "when"});
        if (name == "set" || name == "reset") {
            // transaction_read_only and the like are of the transaction, too.
            bool const local =
                object == "local" || object == "constraints" || object.starts_with("transaction");
            if (names && !local) found_.add(leaving::setting);
        } else if (name == "listen") {
            if (names) found_.add(leaving::listen);
        } else if (name == "prepare") {
            if (names && object != "transaction") found_.add(leaving::prepared);
        } else if (name == "load") {
            bool const file = next < text.size() && (text[next] == '\'' || text[next] == '$');
            if (file || (object == "e" && text.substr(next + 1, 1) == "'")) found_.add(leaving::library);
        } else if (name == "drop" || (name == "discard" && object.starts_with("temp"))) {
            if (names) found_.add(leaving::temporary);
        }
    }

    /// Wherever it stands.
    void any_word(std::string_view name, std::string_view text, std::size_t next) {
        if (name == "temp" || name == "temporary") {
            bool const made =
                is_one_of(before_,
                          std::array<std::string_view, 5>{"create", "local", "global", "replace", "into"}) ||
                is_one_of(word_at(text, next),
                          std::array<std::string_view, 4>{"table", "view", "sequence", "recursive"});
            makes_temporary_ = makes_temporary_ || made;
        } else if (name == "drop" && before_ == "commit") {
            makes_temporary_ = false;
        } else if (name == "pg_temp" && next < text.size() && text[next] == '.') {
            found_.add(leaving::temporary);
        } else if (name == "hold" && before_ == "with") {
            found_.add(leaving::cursor);
        } else if (name == "pg_settings" && (before_ == "pg_catalog" ? earlier_ : before_) == "update") {
            found_.add(leaving::setting);  // a rule of that view makes an UPDATE a set_config()
        }
    }

    /// As it is folded. One in quotes is as good as any, and so is what a text behind EXECUTE leaves open.
    static std::string word_at(std::string_view text, std::size_t i) {
        if (i >= text.size() || text[i] == '"' || text[i] == '%') return "\"";
        std::size_t end = i;
        if (end < text.size() && begins_word(text[end]))
            while (end < text.size() && goes_on(text[end])) ++end;
        return folded(text.substr(i, end - i));
    }

    call_sink const& called_;
    leavings found_;
    bool begins_ = true;            // the next word is a statement's first
    bool makes_temporary_ = false;  // unless it says ON COMMIT DROP
    expects expects_ = expects::data;
    std::string before_;   // the word before, with nothing but a point or a parenthesis between
    std::string earlier_;  // and the one before that
};

}  // namespace

leavings source_leaves(std::string_view source, call_sink const& called) {
    code_reader reader(called);
    reader.read(source, true, 0);
    return reader.found();
}

leavings lasting_leaves(std::string_view name) {
    if (name == "setseed") return leavings(leaving::setting);
    // It may be a temporary one.
    for (std::string_view slot : {"pg_create_physical_replication_slot", "pg_create_logical_replication_slot",
                                  "pg_copy_physical_replication_slot", "pg_copy_logical_replication_slot"})
        if (name == slot) return leavings(leaving::library);
    return {};
}

leavings builtin_leaves(std::string_view name) {
    if (is_session_lock(name)) return leavings(leaving::lock);
    if (name == "set_config") return leavings(leaving::setting);
    return lasting_leaves(name);
}

}  // namespace lull::routing
