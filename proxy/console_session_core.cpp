#include "proxy/console_session_core.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "protocol/pg/types.hpp"

#include <algorithm>
#include <utility>

namespace lull {

namespace {

constexpr std::size_t longest_message = longest_console_command + 64;

void error(std::string& out, std::string_view sqlstate, std::string_view message,
           std::string_view hint = {}) {
    pg::write_error_response(out, {.sqlstate = sqlstate, .message = message, .hint = hint});
}

}  // namespace

std::optional<console_right> console_right_of(config::console const& settings, std::string const& user) {
    if (std::ranges::find(settings.admins, user) != settings.admins.end()) return console_right::all;
    if (std::ranges::find(settings.stats, user) != settings.stats.end()) return console_right::show;
    return std::nullopt;
}

void console_session_core::start(std::int32_t key_pid, std::string_view key_secret, std::string& out) {
    for (std::string_view name : {"server_version", "server_encoding", "client_encoding", "DateStyle",
                                  "TimeZone", "integer_datetimes", "standard_conforming_strings"}) {
        std::string key(name);
        for (char& c : key)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        pg::write_parameter_status(out, name, console_parameter(key));
    }
    pg::write_backend_key_data(out, key_pid, pg::as_bytes(key_secret));
    pg::write_ready_for_query(out, 'I');
}

std::size_t console_session_core::on_client(pg::bytes in, std::string& out) {
    std::size_t used = 0;
    while (!waits_ && !closing_) {
        pg::frame_result const next = pg::next_frame(in.subspan(used), longest_message);
        if (std::holds_alternative<need_more>(next)) return used;
        auto const* frame = std::get_if<pg::frame>(&next);
        if (!frame || !pg::is_frontend_type(frame->type)) {
            fatal("not a message that the console takes", out);
            return in.size();
        }
        take(frame->type, frame->body, out);
        used += frame->whole.size();
    }
    return used;
}

void console_session_core::take(char type, pg::bytes body, std::string& out) {
    switch (type) {
        case pg::frontend::terminate:
            closing_ = true;
            return;
        case pg::frontend::sync:
            discarding_ = false;
            pg::write_ready_for_query(out, 'I');
            return;
        case pg::frontend::query:
            if (!discarding_) query(body, out);
            return;
        case pg::frontend::function_call:
            error(out, pg::sqlstate::feature_not_supported, "the console has no functions");
            pg::write_ready_for_query(out, 'I');
            return;
        case pg::frontend::flush:
        case pg::frontend::copy_data:
        case pg::frontend::copy_done:
        case pg::frontend::copy_fail:
            return;
        default:
            if (std::exchange(discarding_, true)) return;
            error(out, pg::sqlstate::feature_not_supported,
                  "the extended query protocol is not supported by the console",
                  "Send commands without parameters, by the simple query protocol (in JDBC "
                  "preferQueryMode=simple, in psycopg 3 autocommit=True).");
            return;
    }
}

void console_session_core::query(pg::bytes body, std::string& out) {
    auto const text = pg::parse_query(body);
    if (!text) return fatal("invalid message format", out);
    auto parsed = parse_console_command(*text);
    if (auto const* mistake = std::get_if<console_mistake>(&parsed)) {
        error(out, mistake->sqlstate, mistake->message, mistake->hint);
    } else {
        auto& command = std::get<console_command>(parsed);
        switch (command.verb) {
            case console_verb::nothing:
                pg::write_empty_query_response(out);
                break;
            case console_verb::set:
                pg::write_notice_response(out, {.severity = "NOTICE",
                                                .sqlstate = pg::sqlstate::successful_completion,
                                                .message = "SET ignored"});
                pg::write_command_complete(out, "SET");
                break;
            case console_verb::show:
                question_ = std::move(command);
                waits_ = true;
                return;
            case console_verb::pause:
            case console_verb::resume:
            case console_verb::reconnect:
            case console_verb::kill:
            case console_verb::reload:
            case console_verb::shutdown:
            case console_verb::maintenance_on:
            case console_verb::maintenance_off:
                if (right_ == console_right::all) {
                    question_ = std::move(command);
                    waits_ = true;
                    return;
                }
                error(out, pg::sqlstate::insufficient_privilege, "admin access needed",
                      "The configuration's console.admins lists who has it.");
                break;
        }
    }
    pg::write_ready_for_query(out, 'I');
}

std::optional<console_command> console_session_core::take_question() {
    return std::exchange(question_, std::nullopt);
}

void console_session_core::on_answer(std::string_view messages, bool last, std::string& out) {
    if (!waits_) return;
    out += messages;
    if (!last) return;
    waits_ = false;
    pg::write_ready_for_query(out, 'I');
}

void console_session_core::fatal(std::string_view message, std::string& out) {
    pg::write_error_response(
        out, {.severity = "FATAL", .sqlstate = pg::sqlstate::protocol_violation, .message = message});
    closing_ = true;
}

}  // namespace lull
