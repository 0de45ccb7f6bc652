#include "config/name_pattern.hpp"

#include <algorithm>
#include <optional>
#include <regex.h>
#include <utility>

namespace lull::config {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// Reads a pattern once: what the two kinds of regular expression understand alike goes on, in POSIX's spelling.
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
        if (text_.size() * repeats_ > most_pattern_states)
            return pattern_error{"the regular expression is too complex", "use smaller numbers in {}"};
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
            default:
                return put(before::atom);
        }
    }

    std::optional<pattern_error> put(before what) {
        out_ += text_[at_++];
        last_ = what;
        return std::nullopt;
    }

    std::optional<pattern_error> escape() {
        if (at_ + 1 == text_.size()) return pattern_error{"a backslash at the end", "write \\\\ for the character"};
        char const what = text_[at_ + 1];
        at_ += 2;
        last_ = before::atom;
        switch (what) {
            case 'd':
                out_ += "[[:digit:]]";
                return std::nullopt;
            case 'w':
                out_ += "[[:alnum:]_]";
                return std::nullopt;
            case 's':
                out_ += "[[:space:]]";
                return std::nullopt;
            default:
                break;
        }
        if (is_word(what))
            return pattern_error{std::string("the escape \\") + what + " is not supported",
                                 "of escapes with a letter or digit, \\d, \\w and \\s are"};
        out_ += '\\';
        out_ += what;
        return std::nullopt;
    }

    std::optional<pattern_error> bracket() {
        std::size_t end = at_ + 1;
        if (end < text_.size() && text_[end] == '^') ++end;
        if (end < text_.size() && text_[end] == ']') ++end;  // first, it is a character
        for (; end < text_.size() && text_[end] != ']'; ++end) {
            if (text_[end] == '\\')
                return pattern_error{"a backslash in [] is not supported", "write the characters without it"};
            if (text_[end] != '[' || end + 1 == text_.size()) continue;
            char const kind = text_[end + 1];
            if (kind == '.' || kind == '=')
                return pattern_error{"collating elements are not supported", "write the characters themselves"};
            if (kind != ':') continue;
            std::size_t const close = text_.find(":]", end + 2);
            if (close == std::string_view::npos) break;
            end = close + 1;
        }
        if (end >= text_.size()) return pattern_error{"a bracket that is not closed", "close it"};
        out_.append(text_.substr(at_, end + 1 - at_));
        at_ = end + 1;
        last_ = before::atom;
        return std::nullopt;
    }

    std::optional<pattern_error> repetition() {
        if (last_ == before::nothing)
            return pattern_error{std::string("nothing that ") + text_[at_] + " could repeat", "write a backslash before it"};
        if (last_ == before::repeated)
            return pattern_error{"two repetitions in a row, as of a non-greedy one, are not supported", "leave one out"};
        if (text_[at_] != '{') return put(before::repeated);
        std::size_t const begin = at_++;
        std::size_t const least = number();
        std::size_t most = least;
        bool const has_number = is_digit(text_[at_ - 1]);
        if (at_ < text_.size() && text_[at_] == ',') {
            ++at_;
            most = at_ < text_.size() && is_digit(text_[at_]) ? number() : std::max<std::size_t>(least, 1);
        }
        if (!has_number || at_ == text_.size() || text_[at_] != '}' || std::max(least, most) > most_pattern_repeats ||
            (text_[at_ - 1] != ',' && most < least))
            return pattern_error{"what stands in {} is no number of repetitions",
                                 "write {3}, {3,} or {3,5}, up to " + std::to_string(most_pattern_repeats)};
        ++at_;
        repeats_ = std::min(repeats_ * std::max<std::size_t>({least, most, 1}), most_pattern_states + 1);
        out_.append(text_.substr(begin, at_ - begin));
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
    std::size_t repeats_ = 1;  // all multiplied: the worst case, one in the other
    before last_ = before::nothing;
    std::string out_;
};

class regex_pattern final : public name_pattern {
  public:
    regex_pattern() = default;
    regex_pattern(regex_pattern const&) = delete;
    regex_pattern& operator=(regex_pattern const&) = delete;
    ~regex_pattern() override {
        if (compiled_) ::regfree(&regex_);
    }

    std::optional<pattern_error> compile(std::string const& text) {
        int const failed = ::regcomp(&regex_, text.c_str(), REG_EXTENDED | REG_NOSUB);
        compiled_ = failed == 0;
        if (compiled_) return std::nullopt;
        char words[128] = {};
        ::regerror(failed, &regex_, words, sizeof words);
        return pattern_error{std::string("invalid regular expression: ") + words, "correct it"};
    }

    bool matches(std::string_view name) const override {
        regmatch_t part{};
        part.rm_eo = static_cast<regoff_t>(name.size());
        return ::regexec(&regex_, name.data(), 1, &part, REG_STARTEND) == 0;
    }

  private:
    regex_t regex_{};
    bool compiled_ = false;
};

}  // namespace

pattern_result compile_pattern(std::string_view text) {
    auto translated = translator(text).run();
    if (auto* wrong = std::get_if<pattern_error>(&translated)) return std::move(*wrong);
    auto made = std::make_shared<regex_pattern>();
    if (auto wrong = made->compile(std::get<std::string>(translated))) return std::move(*wrong);
    return std::shared_ptr<name_pattern const>(std::move(made));
}

}  // namespace lull::config
