#include "routing/sql_normalizer.hpp"

#include "routing/plain_block.hpp"

#include <array>
#include <cstring>

namespace lull::routing {
namespace {

constexpr std::size_t max_comment_depth = 8;
constexpr std::size_t max_operator_run = 64;

enum class byte_class : std::uint8_t { other, space, ident, digit, op, control };

// As scan.l: identifiers start with a letter, '_' or any byte of 0x80 and above.
constexpr std::array<byte_class, 256> classes = [] {
    std::array<byte_class, 256> t{};
    for (int i = 0; i < 256; ++i) {
        auto const c = static_cast<unsigned char>(i);
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f')
            t[c] = byte_class::space;
        else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80)
            t[c] = byte_class::ident;
        else if (c >= '0' && c <= '9')
            t[c] = byte_class::digit;
        else if (c < 0x20 || c == 0x7f)
            t[c] = byte_class::control;
        else if (std::string_view("~!@#^&|`?+-*/%<>=").find(static_cast<char>(c)) != std::string_view::npos)
            t[c] = byte_class::op;
    }
    return t;
}();

constexpr std::array<bool, 256> in_name = [] {
    std::array<bool, 256> t{};
    for (std::size_t i = 0; i < t.size(); ++i)
        t[i] = classes[i] == byte_class::ident || classes[i] == byte_class::digit || i == '$';
    return t;
}();

// What stands between names and has no meaning for the scan.
constexpr std::array<bool, 256> apart = [] {
    std::array<bool, 256> t{};
    for (std::size_t i = 0; i < t.size(); ++i)
        t[i] = classes[i] == byte_class::space || i == ',' || i == ';' || i == '(' || i == ')';
    return t;
}();

byte_class class_of(char c) {
    return classes[static_cast<unsigned char>(c)];
}

class scanner {
  public:
    scanner(std::string_view sql, char* out) : in_(sql), out_(out) {}

    scanned run() {
        while (at_ < in_.size() && !result_.dangerous) token();
        if (keyed_) {
            result_.form = changed_ ? key_form::changed : key_form::same;
            result_.key_bytes = written_;
        }
        return result_;
    }

  private:
    char peek(std::size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

    // No bound to check: every token writes at most as many bytes as it has.
    void put(char c) { out_[written_++] = c; }
    void copy() { put(in_[at_++]); }
    void copy_to(std::size_t end) {
        std::memcpy(out_ + written_, in_.data() + at_, end - at_);
        written_ += end - at_;
        at_ = end;
    }
    void no_key() { keyed_ = false; }

    void token() {
        char const c = in_[at_];
        switch (class_of(c)) {
            case byte_class::space:
            case byte_class::ident:
                plain();
                return;
            case byte_class::digit:
                number();
                return;
            case byte_class::op:
                operators();
                return;
            case byte_class::control:
                no_key();
                ++at_;
                return;
            case byte_class::other:
                break;
        }
        if (c == '\'') {
            string();
        } else if (c == '"') {
            quoted_identifier();
        } else if (c == '$') {
            dollar();
        } else {
            // ".5" would be one number; "t.5" and "1..2" are left to the parser as well.
            if (c == '.' && class_of(peek(1)) == byte_class::digit) no_key();
            copy();
        }
    }

    // Names, blanks and the commonest punctuation, in one go: most of most texts. Works on copies, because a byte written may
    // be part of this scanner for all that the compiler knows.
    void plain() {
        char const* const begin = in_.data() + at_;
        char const* const end = in_.data() + in_.size();
        char const* in = begin;
        char* out = out_ + written_;
        bool inside_name = false;  // the byte before is of one
        auto const is = [](char c, std::array<bool, 256> const& what) { return what[static_cast<unsigned char>(c)]; };
#ifdef __SSE2__
        std::size_t plain = plain_block;
        while (plain == plain_block && static_cast<std::size_t>(end - in) >= plain_block) {
            plain = copy_plain(in, out, inside_name);
            in += plain;
            out += plain;
        }
#endif
        for (; in != end; *out++ = *in++) {
            bool const of_name = is(*in, in_name) && (inside_name || class_of(*in) == byte_class::ident);
            if (!of_name && !is(*in, apart)) break;
            inside_name = of_name;
        }
        written_ = static_cast<std::size_t>(out - out_);
        at_ = static_cast<std::size_t>(in - in_.data());
        if (!inside_name || in == end || *in != '\'') return;
        // E'', B'', X'', N'': only E changes how the string is read; a name right before a quote is left to
        // the parser.
        no_key();
        bool const one_letter = in - begin == 1 || !is(in[-2], in_name);
        skip_string(one_letter && (in[-1] == 'e' || in[-1] == 'E'));
    }

    void number() {
        skip_digits();
        if (peek() == '.' && class_of(peek(1)) == byte_class::digit) {
            ++at_;
            skip_digits();
        }
        char const next = peek();
        // "1e5", "1from", "1$2", "1.", "1..2": what these are differs between versions.
        if (at_ < in_.size() && (class_of(next) == byte_class::ident || next == '$' || next == '.')) no_key();
        put(number_mark);
        changed_ = true;
    }

    void skip_digits() {
        char const* in = in_.data() + at_;
        char const* const end = in_.data() + in_.size();
        while (in != end && class_of(*in) == byte_class::digit) ++in;
        at_ = static_cast<std::size_t>(in - in_.data());
    }

    void string() {
        skip_string(false);
        put(string_mark);
        changed_ = true;
    }

    // At a quote. Without escapes '' needs no care: it ends this string and begins the next.
    void skip_string(bool escapes) {
        if (!escapes) {
            std::size_t const close = in_.find('\'', at_ + 1);
            at_ = close == std::string_view::npos ? in_.size() : close + 1;
            if (close == std::string_view::npos) no_key();  // unterminated
            return;
        }
        ++at_;
        while (at_ < in_.size()) {
            char const c = in_[at_++];
            if (c == '\\' && at_ < in_.size()) {
                ++at_;
            } else if (c == '\'') {
                if (peek() == '\'')
                    ++at_;
                else if (!continues())
                    return;
            }
        }
        no_key();  // unterminated
    }

    // E'a' <newline> 'b' goes on being a string with escapes: then moves behind its next quote.
    bool continues() {
        std::size_t look = at_;
        bool newline = false;
        while (look < in_.size()) {
            if (class_of(in_[look]) == byte_class::space) {
                newline = newline || in_[look] == '\n' || in_[look] == '\r';
                ++look;
            } else if (in_.substr(look, 2) == "--") {
                while (look < in_.size() && in_[look] != '\n' && in_[look] != '\r') ++look;
            } else {
                break;
            }
        }
        if (!newline || look >= in_.size() || in_[look] != '\'') return false;
        at_ = look + 1;
        return true;
    }

    void quoted_identifier() {
        std::size_t end = at_ + 1;
        while (end < in_.size() && in_[end] != '"') {
            if (class_of(in_[end]) == byte_class::control) no_key();
            ++end;
        }
        if (end == in_.size())
            no_key();  // unterminated
        else
            ++end;
        copy_to(end);
    }

    void dollar() {
        if (class_of(peek(1)) == byte_class::digit) {  // $1
            copy();
            while (class_of(peek()) == byte_class::digit) copy();
            if (at_ < in_.size() && (class_of(peek()) == byte_class::ident || peek() == '$')) no_key();
            return;
        }
        no_key();
        std::size_t end = at_ + 1;
        if (end < in_.size() && class_of(in_[end]) == byte_class::ident) {
            while (end < in_.size() &&
                   (class_of(in_[end]) == byte_class::ident || class_of(in_[end]) == byte_class::digit))
                ++end;
        }
        if (end >= in_.size() || in_[end] != '$') {
            ++at_;  // a stray dollar
            return;
        }
        std::string_view const tag = in_.substr(at_, end + 1 - at_);
        std::size_t const close = in_.find(tag, end + 1);
        at_ = close == std::string_view::npos ? in_.size() : close + tag.size();
    }

    void operators() {
        // One alone, as most are. (Not the last of a run that began in a comment.)
        if (at_ >= run_end_ && at_ + 1 < in_.size() && in_[at_] != '&' && class_of(in_[at_ + 1]) != byte_class::op) return copy();
        while (at_ < in_.size() && class_of(in_[at_]) == byte_class::op) {
            char const c = in_[at_];
            bool const block = c == '/' && peek(1) == '*';
            bool const line = c == '-' && peek(1) == '-';
            if (!enter_run(block || line)) return;
            if (block) return comment();
            if (line) return line_comment();
            // U&'...' and U&"...": escapes whose character a later constant may choose.
            if (c == '&' && (peek(1) == '\'' || peek(1) == '"')) no_key();
            copy();
        }
    }

    // The lexer matches a whole run of operator characters, comments and all, each time one token of it
    // begins, and then gives back all but that token: quadratic in the run. One comment may be a long run by
    // itself ("/*****", "------").
    bool enter_run(bool begins_comment) {
        if (at_ >= run_end_) {
            run_begin_ = run_end_ = at_;
            while (run_end_ < in_.size() && class_of(in_[run_end_]) == byte_class::op) ++run_end_;
        } else {
            begins_comment = false;
        }
        if (begins_comment || run_end_ - run_begin_ <= max_operator_run) return true;
        result_.dangerous = true;
        no_key();
        return false;
    }

    void line_comment() {
        note_hint(2);
        no_key();
        while (at_ < in_.size() && in_[at_] != '\n' && in_[at_] != '\r') ++at_;
    }

    // A comment is one blank of the key, so that tracing comments do not make every text unique.
    void comment() {
        note_hint(2);
        std::size_t depth = 1;
        at_ += 2;
        while (at_ < in_.size()) {
            if (in_[at_] == '/' && peek(1) == '*') {
                if (!enter_run(true)) return;
                at_ += 2;
                no_key();
                if (++depth > max_comment_depth) {
                    result_.dangerous = true;
                    return;
                }
            } else if (in_[at_] == '*' && peek(1) == '/') {
                at_ += 2;
                if (--depth == 0) {
                    put(' ');
                    changed_ = true;
                    return;
                }
            } else {
                ++at_;
            }
        }
        no_key();  // unterminated
    }

    void note_hint(std::size_t skip) {
        std::size_t look = at_ + skip;
        while (look < in_.size() && class_of(in_[look]) == byte_class::space) ++look;
        if (in_.substr(look, 5) != "lull:") return;
        result_.hinted = true;
        no_key();
    }

    std::string_view in_;
    char* out_;
    std::size_t at_ = 0;
    std::size_t written_ = 0;
    std::size_t run_begin_ = 0;  // the run of operator characters last met, as the lexer sees it
    std::size_t run_end_ = 0;
    bool keyed_ = true;
    bool changed_ = false;
    scanned result_;
};

}  // namespace

scanned scan_sql(std::string_view sql, std::span<char> buffer) {
    if (buffer.size() < sql.size()) return {};
    return scanner(sql, buffer.data()).run();
}

}  // namespace lull::routing
