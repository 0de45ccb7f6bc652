// Any body under any type, from either side; what was understood is written again and must give the same
// bytes.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frame.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/startup.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

using namespace lull;
using namespace lull::pg;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void require_body(std::string const& written, bytes body) {
    require(as_text(as_bytes(written).subspan(header_bytes)) == as_text(body));
}

/// A Bind of which ever more is there: once its names are known they do not change.
void try_bind(bytes body) {
    auto const whole = parse_bind_names(body, body.size());
    require(!std::holds_alternative<need_more>(whole));
    auto const* const names = std::get_if<bind_names>(&whole);
    for (std::size_t size = 0; size <= std::min<std::size_t>(body.size(), 64); ++size) {
        auto const cut = parse_bind_names(body.first(size), body.size());
        if (auto const* const early = std::get_if<bind_names>(&cut))
            require(names != nullptr && early->rest == names->rest && early->portal == names->portal);
    }
    if (names == nullptr) return;
    std::string out;
    write_bind_renamed(out, names->portal, names->statement, body.subspan(names->rest));
    require_body(out, body);
}

void try_frontend(char type, bytes body) {
    std::string out;
    switch (type) {
        case frontend::query:
            if (auto const query = parse_query(body)) write_query(out, *query);
            break;
        case frontend::parse:
            if (auto const m = parse_parse(body))
                write_parse(out, m->statement, m->query, m->parameter_types);
            break;
        case frontend::bind:
            try_bind(body);
            break;
        case frontend::describe:
            if (auto const m = parse_describe(body)) write_describe(out, m->kind, m->name);
            break;
        case frontend::close:
            if (auto const m = parse_close(body)) write_close(out, m->kind, m->name);
            break;
        case frontend::execute:
            if (auto const m = parse_execute(body)) write_execute(out, m->portal, m->max_rows);
            break;
        case frontend::copy_fail:
            if (auto const reason = parse_copy_fail(body)) write_copy_fail(out, *reason);
            break;
        case frontend::password:
            if (auto const m = parse_sasl_initial_response(body); m && m->data)
                write_sasl_initial_response(out, m->mechanism, *m->data);
            else if (auto const password = parse_password(body))
                write_password(out, *password);
            break;
        default:
            break;
    }
    if (!out.empty()) require_body(out, body);
}

void try_error_fields(bytes body) {
    auto const fields = parse_error_fields(body);
    if (!fields) return;
    std::string out;
    write_error_response(
        out, {fields->severity.value_or(""), fields->sqlstate.value_or(""), fields->message.value_or(""),
              fields->detail.value_or(""), fields->hint.value_or("")});
    auto const again = parse_error_fields(as_bytes(out).subspan(header_bytes));
    require(again && again->message == fields->message.value_or(""));
}

std::vector<std::string_view> all_of(text_list list) {
    std::vector<std::string_view> found;
    while (auto const text = list.next()) found.push_back(*text);
    return found;
}

void try_backend(char type, bytes body) {
    std::string out;
    switch (type) {
        case backend::authentication:
            if (auto const m = parse_authentication(body); m && m->code == authentication_code::sasl)
                write_authentication_sasl(out, all_of(m->mechanisms));
            break;
        case backend::notification_response:
            if (auto const m = parse_notification_response(body))
                write_notification_response(out, m->pid, m->channel, m->payload);
            break;
        case backend::parameter_status:
            if (auto const m = parse_parameter_status(body)) write_parameter_status(out, m->name, m->value);
            break;
        case backend::backend_key_data:
            if (auto const m = parse_backend_key_data(body)) write_backend_key_data(out, m->pid, m->secret);
            break;
        case backend::ready_for_query:
            if (auto const status = parse_ready_for_query(body)) write_ready_for_query(out, *status);
            break;
        case backend::command_complete:
            if (auto const tag = parse_command_complete(body)) write_command_complete(out, *tag);
            break;
        case backend::negotiate_protocol_version:
            if (auto const m = parse_negotiate_protocol_version(body))
                write_negotiate_protocol_version(out, m->protocol, all_of(m->unsupported));
            break;
        case backend::error_response:
        case backend::notice_response:
            try_error_fields(body);
            break;
        default:
            break;
    }
    if (!out.empty()) require_body(out, body);
}

}  // namespace

/// The first byte is the type, the rest the body.
extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) return 0;
    bytes const in{reinterpret_cast<std::byte const*>(data), size};
    auto const type = static_cast<char>(in[0]);
    try_frontend(type, in.subspan(1));
    try_backend(type, in.subspan(1));
    return 0;
}
