#include "proxy/console_command_core.hpp"

#include "config/ascii.hpp"
#include "config/duration.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "protocol/utf8.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace lull {

namespace {

namespace sqlstate = pg::sqlstate;

enum class token_kind : std::uint8_t { word, name, text, semicolon };

struct token {
    token_kind kind;
    std::string value;  // without quotes
};

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

bool ends_word(char c) {
    return is_space(c) || c == ';' || c == '"' || c == '\'' || c == '\0';
}

/// What of it is told back.
std::string echo(std::string_view text) {
    return std::string(whole_characters(text.substr(0, 100)));
}

constexpr std::pair<std::string_view, console_topic> topics[] = {
    {"help", console_topic::help},
    {"clients", console_topic::clients},
    {"servers", console_topic::servers},
    {"pools", console_topic::pools},
    {"databases", console_topic::databases},
    {"stats", console_topic::stats},
    {"stats_totals", console_topic::stats_totals},
    {"stats_averages", console_topic::stats_averages},
    {"totals", console_topic::totals},
    {"lists", console_topic::lists},
    {"users", console_topic::users},
    {"state", console_topic::state},
    {"sites", console_topic::sites},
    {"backends", console_topic::backends},
    {"prepared", console_topic::prepared},
    {"config", console_topic::config},
    {"locks", console_topic::locks},
    {"version", console_topic::version},
};

// As psycopg, asyncpg, JDBC and psql ask for them.
constexpr std::pair<std::string_view, std::string_view> parameters[] = {
    {"client_encoding", "UTF8"},
    {"server_encoding", "UTF8"},
    {"standard_conforming_strings", "on"},
    {"datestyle", "ISO, MDY"},
    {"timezone", "UTC"},
    {"integer_datetimes", "on"},
    {"default_transaction_isolation", "read committed"},
    {"transaction_isolation", "read committed"},
    {"transaction_read_only", "off"},
    {"default_transaction_read_only", "off"},
    {"server_version", "15 (Lull)"},
};

constexpr std::string_view ignored[] = {"application_name", "extra_float_digits"};

constexpr std::string_view help_hint = "SHOW HELP lists what there is.";

/// What a driver or a tool has sent by habit has a reason of its own to fail.
std::string_view hint_for(std::string_view verb) {
    for (std::string_view word : {"begin", "start", "commit", "end", "rollback", "abort"})
        if (verb == word) return "The console has no transactions: have the driver commit by itself (autocommit).";
    for (std::string_view word : {"select", "with", "values", "table", "discard", "reset"})
        if (verb == word) return "The console takes commands, not SQL: SHOW HELP lists them.";
    return help_hint;
}

class parser {
  public:
    explicit parser(std::string_view text) : text_(text) {}

    std::variant<console_command, console_mistake> run() {
        if (text_.size() > longest_console_command)
            return console_mistake{sqlstate::program_limit_exceeded, "the command is too long", {}};
        for (std::string_view rest = text_; !rest.empty();) {
            std::size_t const n = utf8_length(rest);
            if (n == 0)
                return console_mistake{sqlstate::character_not_in_repertoire,
                                       "the command is not valid in encoding \"UTF8\"", {}};
            rest.remove_prefix(n);
        }
        if (!tokenise()) return wrong("there is a quote without its end");
        while (!tokens_.empty() && tokens_.back().kind == token_kind::semicolon) tokens_.pop_back();
        for (token const& t : tokens_)
            if (t.kind == token_kind::semicolon) return wrong("one command at a time");
        if (tokens_.empty()) return console_command{};
        std::string const verb = word();
        if (verb == "show") return show();
        if (verb == "pause") return with_name(console_verb::pause, false);
        if (verb == "resume") return with_name(console_verb::resume, false);
        if (verb == "reconnect") return with_name(console_verb::reconnect, false);
        if (verb == "kill") return with_name(console_verb::kill, true);
        if (verb == "reload") return finish({.verb = console_verb::reload});
        if (verb == "shutdown") return shutdown();
        if (verb == "maintenance") return maintenance();
        if (verb == "set") return set();
        return console_mistake{sqlstate::syntax_error, "invalid command '" + echo(text_) + "'",
                               std::string(hint_for(verb))};
    }

  private:
    bool tokenise() {
        std::size_t at = 0;
        while (at < text_.size()) {
            char const c = text_[at];
            if (is_space(c) || c == '\0') {
                ++at;
            } else if (c == ';') {
                tokens_.push_back({token_kind::semicolon, {}});
                ++at;
            } else if (c == '"' || c == '\'') {
                if (!quoted(at, c)) return false;
            } else {
                std::size_t const begin = at;
                while (at < text_.size() && !ends_word(text_[at])) ++at;
                tokens_.push_back({token_kind::word, std::string(text_.substr(begin, at - begin))});
            }
        }
        return true;
    }

    bool quoted(std::size_t& at, char quote) {
        std::string value;
        for (++at; at < text_.size(); ++at) {
            if (text_[at] != quote) {
                value += text_[at];
                continue;
            }
            if (at + 1 < text_.size() && text_[at + 1] == quote) {
                value += quote;
                ++at;
                continue;
            }
            ++at;
            tokens_.push_back({quote == '"' ? token_kind::name : token_kind::text, std::move(value)});
            return true;
        }
        return false;
    }

    bool more() const { return next_ < tokens_.size(); }
    /// The next token, if it is a bare word, in lower case.
    std::string word() {
        if (!more() || tokens_[next_].kind != token_kind::word) return {};
        return ascii_lower(tokens_[next_++].value);
    }
    std::string value() { return more() ? tokens_[next_++].value : std::string(); }
    bool next_is(std::string_view keyword) const {
        return more() && tokens_[next_].kind == token_kind::word && ascii_lower(tokens_[next_].value) == keyword;
    }

    static console_mistake wrong(std::string message) {
        return {sqlstate::syntax_error, std::move(message), std::string(help_hint)};
    }

    std::variant<console_command, console_mistake> finish(console_command made) {
        if (more()) return wrong("'" + echo(tokens_[next_].value) + "' is too much");
        return made;
    }

    std::variant<console_command, console_mistake> show() {
        console_command made{.verb = console_verb::show};
        std::string const what = ascii_lower(value());
        for (auto const& [name, topic] : topics)
            if (what == name) {
                made.topic = topic;
                return finish(std::move(made));
            }
        if (console_parameter(what).empty())
            return wrong(what.empty() ? "SHOW what?" : "there is no SHOW " + echo(what));
        made.topic = console_topic::parameter;
        made.name = what;
        return finish(std::move(made));
    }

    /// Drivers and tools begin with some of these: what they set means nothing here.
    std::variant<console_command, console_mistake> set() {
        std::string name = word();
        if (name == "session" || name == "local") name = word();
        name = name.substr(0, name.find('='));
        if (name == "names" || !console_parameter(name).empty() || std::ranges::find(ignored, name) != std::end(ignored))
            return console_command{.verb = console_verb::set};
        return console_mistake{sqlstate::feature_not_supported, "SET is not supported here",
                               "Change the configuration file, then RELOAD."};
    }

    std::variant<console_command, console_mistake> with_name(console_verb verb, bool required) {
        console_command made{.verb = verb};
        if (more() && !(verb == console_verb::pause && next_is("timeout"))) {
            made.name = value();
            if (made.name.empty()) return wrong("a database needs a name");
        }
        if (required && made.name.empty()) return wrong("a database is required");
        if (verb != console_verb::pause || !next_is("timeout")) return finish(std::move(made));
        ++next_;
        auto const time = config::parse_duration(value());
        if (auto const* e = std::get_if<config::unit_error>(&time)) return wrong(e->message + ": " + e->fix);
        made.timeout = std::get<std::chrono::milliseconds>(time);
        constexpr std::chrono::hours longest{24};
        if (*made.timeout > longest) return wrong("a pause may be waited for at most a day");
        return finish(std::move(made));
    }

    std::variant<console_command, console_mistake> shutdown() {
        console_command made{.verb = console_verb::shutdown};
        if (next_is("wait_for_servers") || next_is("wait_for_clients")) {
            made.graceful = true;
            ++next_;
        }
        return finish(std::move(made));
    }

    std::variant<console_command, console_mistake> maintenance() {
        std::string const how = word();
        if (how != "on" && how != "off") return wrong("MAINTENANCE ON or OFF?");
        console_command made{.verb =
                                 how == "on" ? console_verb::maintenance_on : console_verb::maintenance_off};
        made.name = value();
        if (made.name.empty()) return wrong("a site is required");
        if (made.verb == console_verb::maintenance_on && next_is("reason")) {
            ++next_;
            made.reason = value();
            if (made.reason.empty()) return wrong("what is the reason?");
        }
        return finish(std::move(made));
    }

    std::string_view text_;
    std::vector<token> tokens_;
    std::size_t next_ = 0;
};

}  // namespace

std::variant<console_command, console_mistake> parse_console_command(std::string_view text) {
    return parser(text).run();
}

std::string_view console_parameter(std::string_view name) {
    for (auto const& [known, value] : parameters)
        if (name == known) return value;
    return {};
}

std::string_view console_help() {
    return "\n"
           "\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION|STATE\n"
           "\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS|LISTS\n"
           "\tSHOW SITES|BACKENDS|LOCKS|PREPARED\n"
           "\tMAINTENANCE ON <site> [REASON '<text>']\n"
           "\tMAINTENANCE OFF <site>\n"
           "\tPAUSE [<db>] [TIMEOUT '<30s>']\n"
           "\tRESUME [<db>]\n"
           "\tRECONNECT [<db>]\n"
           "\tKILL <db>\n"
           "\tRELOAD\n"
           "\tSHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]";
}

}  // namespace lull
