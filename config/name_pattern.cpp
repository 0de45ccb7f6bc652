#include "config/name_pattern.hpp"

#include "config/issue.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <re2/re2.h>
#include <string>
#include <utility>

namespace lull::config {
namespace {

// Of one pattern: its program and what it remembers of names that it was asked about, which anybody can send. Where that
// is full, RE2 forgets it, or goes on without.
constexpr std::int64_t pattern_memory = 256 * 1024;

using byte_set = std::bitset<256>;

/// In pairs: from, to. Those of the C locale, by which PostgreSQL matches names.
struct byte_class {
    std::string_view name;
    std::string_view ranges;
};

constexpr std::array<byte_class, 13> classes{{{"alnum", "09AZaz"},
                                              {"alpha", "AZaz"},
                                              {"blank", "\t\t  "},
                                              {"cntrl", {"\0\x1f\x7f\x7f", 4}},
                                              {"digit", "09"},
                                              {"graph", "!~"},
                                              {"lower", "az"},
                                              {"print", " ~"},
                                              {"punct", "!/:@[`{~"},
                                              {"space", "\t\r  "},
                                              {"upper", "AZ"},
                                              {"word", "09AZaz__"},
                                              {"xdigit", "09AFaf"}}};

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

void add_range(byte_set& to, char first, char last) {
    for (std::size_t c = static_cast<unsigned char>(first); c <= static_cast<unsigned char>(last); ++c) to.set(c);
}

/// False: there is none of that name.
bool add_class(byte_set& to, std::string_view name) {
    auto const at = std::find_if(classes.begin(), classes.end(), [&](byte_class const& c) { return c.name == name; });
    if (at == classes.end()) return false;
    for (std::size_t i = 0; i < at->ranges.size(); i += 2) add_range(to, at->ranges[i], at->ranges[i + 1]);
    return true;
}

/// Reads a pattern once: what RE2 understands as PostgreSQL does goes on, all characters that could mean something as \xHH.
class translator {
  public:
    explicit translator(std::string_view text) : text_(text) {}

    std::variant<std::string, pattern_error> run() {
        if (text_.size() > most_pattern_bytes)
            return pattern_error{"a regular expression of more than " + std::to_string(most_pattern_bytes) + " bytes",
                                 "use several"};
        if (text_.find('\0') != std::string_view::npos) return pattern_error{"a NUL byte in it", "remove it"};
        while (at_ < text_.size())
            if (auto wrong = step()) return *wrong;
        if (open_ > 0) return pattern_error{"a parenthesis that is not closed", "close it"};
        if (out_.empty()) return pattern_error{"an empty regular expression", "write all in place of it"};
        return std::move(out_);
    }

  private:
    /// What an operator of repetition may follow.
    enum class before : std::uint8_t { nothing, atom, repeated };

    std::optional<pattern_error> step() {
        char const c = text_[at_];
        switch (c) {
            case '\\':
                return escape();
            case '[':
                return bracket();
            case '*':
            case '+':
            case '?':
            case '{':
                return repetition();
            case '(':
                if (text_.substr(at_).starts_with("(?"))
                    return pattern_error{"\"(?\" is not supported", "write an expression without it"};
                ++open_;
                return put(before::nothing);
            case ')':
                if (open_ == 0) return pattern_error{"a parenthesis that was not opened", "write \\) for the character"};
                --open_;
                return put(before::atom);
            case '|':
            case '^':
            case '$':
                return put(before::nothing);
            case '.':
                return put(before::atom);
            default:
                ++at_;
                return one(c);
        }
    }

    std::optional<pattern_error> put(before what) {
        out_ += text_[at_++];
        last_ = what;
        return std::nullopt;
    }

    /// A character that stands for itself.
    std::optional<pattern_error> one(char c) {
        if (is_word(c))
            out_ += c;
        else
            put_byte(static_cast<unsigned char>(c));
        last_ = before::atom;
        return std::nullopt;
    }

    void put_byte(std::size_t c) {
        constexpr std::string_view digits = "0123456789abcdef";
        out_ += "\\x";
        out_ += digits[c / 16];
        out_ += digits[c % 16];
    }

    void put_set(byte_set const& set) {
        out_ += '[';
        for (std::size_t first = 0; first < set.size(); ++first) {
            if (!set[first]) continue;
            std::size_t last = first;
            while (last + 1 < set.size() && set[last + 1]) ++last;
            put_byte(first);
            out_ += '-';
            put_byte(last);
            first = last;
        }
        out_ += ']';
        last_ = before::atom;
    }

    std::optional<pattern_error> escape() {
        if (at_ + 1 == text_.size()) return pattern_error{"a backslash at the end", "write \\\\ for the character"};
        char const what = text_[at_ + 1];
        at_ += 2;
        if (!is_word(what)) return one(what);
        if (what != 'd' && what != 'w' && what != 's')
            return pattern_error{std::string("the escape \\") + what + " is not supported",
                                 "of escapes with a letter or digit, \\d, \\w and \\s are"};
        byte_set set;
        add_class(set, what == 'd' ? "digit" : what == 'w' ? "word" : "space");
        put_set(set);
        return std::nullopt;
    }

    std::optional<pattern_error> bracket() {
        ++at_;
        bool const others = next_is('^');
        if (others) ++at_;
        byte_set set;
        // First, ] and - are characters.
        for (bool first = true; first || !next_is(']'); first = false)
            if (auto wrong = bracket_part(set, first)) return wrong;
        ++at_;
        if (others) set.flip();
        if (set.none()) return pattern_error{"a bracket that no character fits", "name what it is to fit"};
        put_set(set);
        return std::nullopt;
    }

    /// A character, a range or a class.
    std::optional<pattern_error> bracket_part(byte_set& set, bool first) {
        static pattern_error const open{"a bracket that is not closed", "close it"};
        static pattern_error const bad_range{"an invalid range in []", "write the smaller end first, and - as the last character"};
        if (at_ == text_.size()) return open;
        if (at_special()) {
            if (text_[at_ + 1] != ':')
                return pattern_error{"collating elements are not supported", "write the characters themselves"};
            std::size_t const close = text_.find(":]", at_ + 2);
            if (close == std::string_view::npos) return open;
            std::string_view const name = text_.substr(at_ + 2, close - at_ - 2);
            if (!add_class(set, name))
                return pattern_error{"no class of characters is named " + shown(name),
                                     "use one as [:alpha:] or [:digit:]"};
            at_ = close + 2;
            // What follows a class is no range.
            return next_is('-') && !is_last() ? std::optional(bad_range) : std::nullopt;
        }
        char const from = text_[at_];
        if (from == '\\') return pattern_error{"a backslash in [] is not supported", "write the characters without it"};
        if (from == '-' && !first && !is_last()) return bad_range;
        ++at_;
        if (!next_is('-') || is_last()) {
            add_range(set, from, from);
            return std::nullopt;
        }
        ++at_;
        if (at_ == text_.size()) return open;
        char const to = text_[at_];
        if (to == '\\' || at_special() || static_cast<unsigned char>(to) < static_cast<unsigned char>(from)) return bad_range;
        add_range(set, from, to);
        ++at_;
        return std::nullopt;
    }

    bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }

    /// Whether the bracket closes behind this character.
    bool is_last() const { return at_ + 1 < text_.size() && text_[at_ + 1] == ']'; }

    /// Whether a [:class:], [=x=] or [.x.] begins here.
    bool at_special() const {
        return next_is('[') && at_ + 1 < text_.size() && std::string_view(":=.").find(text_[at_ + 1]) != std::string_view::npos;
    }

    std::optional<pattern_error> repetition() {
        if (last_ == before::nothing)
            return pattern_error{std::string("nothing that ") + text_[at_] + " could repeat", "write a backslash before it"};
        if (last_ == before::repeated)
            return pattern_error{"two repetitions in a row, as of a non-greedy one, are not supported", "leave one out"};
        if (text_[at_] != '{') return put(before::repeated);
        ++at_;
        std::size_t const least = number();
        std::size_t most = least;
        bool endless = false;
        bool const has_number = is_digit(text_[at_ - 1]);
        if (next_is(',')) {
            ++at_;
            endless = next_is('}');
            if (!endless) most = number();
        }
        if (!has_number || !is_digit(text_[at_ - 1 - endless]) || !next_is('}') || most < least || most > most_pattern_repeats)
            return pattern_error{"what stands in {} is no number of repetitions",
                                 "write {3}, {3,} or {3,5}, up to " + std::to_string(most_pattern_repeats)};
        ++at_;
        out_ += '{' + std::to_string(least) + ',' + (endless ? "" : std::to_string(most)) + '}';
        last_ = before::repeated;
        return std::nullopt;
    }

    std::size_t number() {
        std::size_t out = 0;
        for (; at_ < text_.size() && is_digit(text_[at_]); ++at_)
            out = std::min<std::size_t>(out * 10 + static_cast<std::size_t>(text_[at_] - '0'), 100'000);
        return out;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::size_t open_ = 0;
    before last_ = before::nothing;
    std::string out_;
};

/// RE2's time is linear in the name, and its memory bounded: names are asked about before anybody has logged in.
class regex_pattern final : public name_pattern {
  public:
    explicit regex_pattern(std::string const& text) : regex_(text, options()) {}

    bool good() const { return regex_.ok(); }

    bool matches(std::string_view name) const override {
        return regex_.Match({name.data(), name.size()}, 0, name.size(), RE2::UNANCHORED, nullptr, 0);
    }

  private:
    static RE2::Options options() {
        RE2::Options out;
        out.set_encoding(RE2::Options::EncodingLatin1);  // a byte is a character
        out.set_max_mem(pattern_memory);
        out.set_dot_nl(true);  // as PostgreSQL's
        out.set_never_capture(true);
        out.set_log_errors(false);
        return out;
    }

    RE2 regex_;
};

}  // namespace

pattern_result compile_pattern(std::string_view text) {
    auto translated = translator(text).run();
    if (auto* wrong = std::get_if<pattern_error>(&translated)) return std::move(*wrong);
    auto made = std::make_shared<regex_pattern const>(std::get<std::string>(translated));
    if (!made->good())
        return pattern_error{"the regular expression is too complex", "use smaller numbers in {}, or several expressions"};
    return std::shared_ptr<name_pattern const>(std::move(made));
}

}  // namespace lull::config
