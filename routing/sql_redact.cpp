#include "routing/sql_redact.hpp"

#include <cstddef>

namespace lull::routing {

namespace {

bool is_space(char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '\x7f';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
// As scan.l: identifiers start with a letter, '_' or any byte of 0x80 and above.
bool starts_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}
bool in_name(char c) {
    return starts_name(c) || is_digit(c) || c == '$';
}

class redactor {
  public:
    explicit redactor(std::string_view in) : in_(in) { out_.reserve(in.size()); }

    std::string run() {
        while (at_ < in_.size()) token();
        while (!out_.empty() && out_.back() == ' ') out_.pop_back();
        return std::move(out_);
    }

  private:
    char peek(std::size_t ahead) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
    void blank() {
        if (!out_.empty() && out_.back() != ' ') out_ += ' ';
    }
    void constant(std::size_t end) {
        out_ += '?';
        at_ = end;
    }
    void rest() { constant(in_.size()); }

    void token() {
        char const c = in_[at_];
        if (is_space(c)) {
            blank();
            ++at_;
        } else if (c == '-' && peek(1) == '-') {
            while (at_ < in_.size() && in_[at_] != '\n' && in_[at_] != '\r') ++at_;
            blank();
        } else if (c == '/' && peek(1) == '*') {
            comment();
        } else if (c == '\'') {
            string(false);
        } else if (c == '"') {
            quoted_name();
        } else if (c == '$') {
            dollar();
        } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
            std::size_t end = at_;
            while (end < in_.size() && (in_name(in_[end]) || in_[end] == '.')) ++end;
            constant(end);
        } else if (starts_name(c)) {
            name();
        } else {
            out_ += c;
            ++at_;
        }
    }

    void comment() {
        std::size_t depth = 0;
        while (at_ < in_.size()) {
            if (in_[at_] == '/' && peek(1) == '*') {
                ++depth;
                at_ += 2;
            } else if (in_[at_] == '*' && peek(1) == '/') {
                at_ += 2;
                if (--depth == 0) break;
            } else {
                ++at_;
            }
        }
        blank();
    }

    void name() {
        std::size_t const begin = at_;
        while (at_ < in_.size() && in_name(in_[at_])) ++at_;
        std::string_view const word = in_.substr(begin, at_ - begin);
        if (peek(0) == '\'') return string(word == "e" || word == "E");  // E'', B'', X'', N''
        out_ += word;
    }

    /// At a quote.
    void string(bool escapes) {
        for (std::size_t end = at_ + 1; end < in_.size(); ++end) {
            if (in_[end] == '\\') {
                // Whether it escapes the next byte depends on standard_conforming_strings.
                if (!escapes) return rest();
                ++end;
            } else if (in_[end] == '\'') {
                if (end + 1 < in_.size() && in_[end + 1] == '\'') {
                    ++end;
                    continue;
                }
                return constant(end + 1);
            }
        }
        rest();
    }

    void quoted_name() {
        std::size_t const close = in_.find('"', at_ + 1);
        if (close == std::string_view::npos) return rest();
        for (; at_ <= close; ++at_) out_ += is_space(in_[at_]) ? ' ' : in_[at_];
    }

    void dollar() {
        if (is_digit(peek(1))) {  // a parameter
            out_ += in_[at_++];
            while (at_ < in_.size() && is_digit(in_[at_])) out_ += in_[at_++];
            return;
        }
        std::size_t end = at_ + 1;
        while (end < in_.size() && in_name(in_[end]) && in_[end] != '$') ++end;
        if (end >= in_.size()) return rest();  // the tag may have been cut
        if (in_[end] != '$') {
            out_ += in_[at_++];
            return;
        }
        std::string_view const tag = in_.substr(at_, end + 1 - at_);
        std::size_t const close = in_.find(tag, end + 1);
        if (close == std::string_view::npos) return rest();
        constant(close + tag.size());
    }

    std::string_view in_;
    std::string out_;
    std::size_t at_ = 0;
};

}  // namespace

std::string redact_sql(std::string_view sql) {
    return redactor(sql).run();
}

}  // namespace lull::routing
