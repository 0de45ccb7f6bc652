// Messages of both sides for tests: short names to write them, and a way to read a stream as text, so that a
// failed comparison says "Z(I)" and not five numbers. Pure; the streams are whole strings.
#pragma once

#include "protocol/pg/backend.hpp"
#include "protocol/pg/frame.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/writer.hpp"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace lull::wire {

// What clients send.

inline std::string query(std::string_view text) {
    std::string out;
    pg::write_query(out, text);
    return out;
}
/// `types`: OIDs of the parameters.
inline std::string parse(std::string_view name, std::string_view text, std::initializer_list<std::int32_t> types = {}) {
    std::string out, oids;
    for (std::int32_t const type : types)
        for (int shift = 24; shift >= 0; shift -= 8) oids += static_cast<char>(type >> shift & 0xff);
    pg::write_parse(out, name, text, pg::as_bytes(oids));
    return out;
}
inline std::string bind_to(std::string_view statement, std::string_view portal = {}) {
    std::string out;
    pg::write_bind_renamed(out, portal, statement, pg::as_bytes(std::string_view("\0\0\0\0\0\0", 6)));
    return out;
}
inline std::string describe(char kind, std::string_view name) {
    std::string out;
    pg::write_describe(out, static_cast<pg::target_kind>(kind), name);
    return out;
}
inline std::string execute(std::string_view portal = {}, std::int32_t rows = 0) {
    std::string out;
    pg::write_execute(out, portal, rows);
    return out;
}
inline std::string close(char kind, std::string_view name) {
    std::string out;
    pg::write_close(out, static_cast<pg::target_kind>(kind), name);
    return out;
}
inline std::string message(char type, std::string_view body = {}) {
    std::string out;
    pg::writer(out, type).raw(body);
    return out;
}
inline std::string sync() {
    return message(pg::frontend::sync);
}
inline std::string flush() {
    return message(pg::frontend::flush);
}
inline std::string terminate() {
    return message(pg::frontend::terminate);
}
inline std::string copy_data(std::string_view data) {
    return message('d', data);
}
inline std::string copy_done() {
    return message('c');
}
inline std::string copy_fail(std::string_view why) {
    return message('f', std::string(why) + '\0');
}

// What servers send.

inline std::string ready(char status) {
    std::string out;
    pg::write_ready_for_query(out, status);
    return out;
}
inline std::string complete(std::string_view tag) {
    std::string out;
    pg::write_command_complete(out, tag);
    return out;
}
inline std::string error(std::string_view sqlstate, std::string_view text = "it failed",
                         std::string_view severity = "ERROR") {
    std::string out;
    pg::write_error_response(out, {.severity = severity, .sqlstate = sqlstate, .message = text});
    return out;
}
/// What DDL makes of a prepared statement. `context`: of code that has met it.
inline std::string stale_plan(std::string_view context = {}) {
    std::string out;
    {
        pg::writer error(out, pg::backend::error_response);
        for (std::string_view field : {"SERROR", "VERROR", "C0A000", "Mcached plan must not change result type"})
            error.text(field);
        if (!context.empty()) error.text("W" + std::string(context));
        error.text("RRevalidateCachedQuery").byte('\0');
    }
    return out;
}
inline std::string notice(std::string_view text) {
    std::string out;
    pg::write_notice_response(out, {.severity = "WARNING", .sqlstate = "25001", .message = text});
    return out;
}
inline std::string parameter(std::string_view name, std::string_view value) {
    std::string out;
    pg::write_parameter_status(out, name, value);
    return out;
}
inline std::string no_parameters() {
    std::string out;
    pg::write_parameter_description(out);
    return out;
}
/// One column of text.
inline std::string row_description(std::string_view name = "column") {
    std::string out;
    pg::writer(out, 'T').int16(1).text(name).int32(0).int16(0).int32(25).int16(0xffff).int32(0).int16(0);
    return out;
}
inline std::string data_row(std::string_view value) {
    std::string out;
    pg::writer(out, 'D').int16(1).int32(static_cast<std::uint32_t>(value.size())).raw(value);
    return out;
}
inline std::string rows(std::initializer_list<std::string_view> values) {
    std::string out = row_description();
    for (std::string_view v : values) out += data_row(v);
    return out + complete("SELECT " + std::to_string(values.size()));
}
inline std::string copy_in_response() {
    return message('G', std::string_view("\0\0\0", 3));
}
inline std::string copy_out_response() {
    return message('H', std::string_view("\0\0\0", 3));
}

/// Takes whole messages off the front of `stream`, and forgets them there. A stream that cannot be followed
/// gives one message of type 0 with all of it.
struct raw_message {
    char type;
    std::string body;
};
inline std::vector<raw_message> take_messages(std::string& stream) {
    std::vector<raw_message> out;
    std::size_t at = 0;
    while (stream.size() - at >= pg::header_bytes) {
        auto const header =
            pg::parse_header(pg::as_bytes(std::string_view(stream).substr(at)).first<pg::header_bytes>());
        if (!header) {
            out.push_back({0, stream.substr(at)});
            at = stream.size();
            break;
        }
        if (stream.size() - at < pg::header_bytes + header->body_bytes) break;
        out.push_back({header->type, stream.substr(at + pg::header_bytes, header->body_bytes)});
        at += pg::header_bytes + header->body_bytes;
    }
    stream.erase(0, at);
    return out;
}

/// Up to the first NUL from `at` on, and `at` behind it.
inline std::string text_at(std::string const& body, std::size_t& at) {
    std::size_t const end = std::min(body.find('\0', at), body.size());
    std::string text = at < body.size() ? body.substr(at, end - at) : std::string();
    at = end + 1;
    return text;
}

inline std::string show_message(raw_message const& m, bool from_server) {
    std::string out(1, m.type ? m.type : '?');
    std::size_t at = 0;
    auto text = [&] { return text_at(m.body, at); };
    if (from_server) {
        pg::bytes const body = pg::as_bytes(m.body);
        switch (m.type) {
            case 'Z':
            case 'C':
                return out + "(" + text() + ")";
            case 'E':
            case 'N':
                if (auto const fields = pg::parse_error_fields(body))
                    out += "(" + std::string(fields->sqlstate.value_or("")) + " " +
                           std::string(fields->message.value_or("")) + ")";
                return out;
            case 'S': {
                std::string const name = text();
                return out + "(" + name + "=" + text() + ")";
            }
            case 'D':
            case 'd':
                return out + "(" +
                       m.body.substr(m.type == 'D' ? std::min<std::size_t>(6, m.body.size()) : 0) + ")";
            default:
                return out;
        }
    }
    switch (m.type) {
        case 'Q':
        case 'f':
            return out + "(" + text() + ")";
        case 'P':
        case 'B': {
            std::string const first = text();
            return out + "(" + first + "," + text() + ")";
        }
        case 'D':
        case 'C':
        case 'E':
        case 'd':
            return out + "(" + text() + ")";
        default:
            return out;
    }
}

inline std::string show(std::string stream, bool from_server) {
    std::string out;
    for (raw_message const& m : take_messages(stream)) out += show_message(m, from_server) + " ";
    if (!stream.empty()) out += "+" + std::to_string(stream.size()) + " bytes";
    return out;
}

}  // namespace lull::wire
