#include "protocol/pg/backend.hpp"

#include "protocol/pg/frame.hpp"
#include "protocol/pg/reader.hpp"
#include "protocol/pg/startup.hpp"
#include "protocol/pg/types.hpp"
#include "protocol/pg/writer.hpp"

namespace lull::pg {
namespace {

// Where an ErrorResponse's field belongs; null: a type we do not know.
std::optional<std::string_view>* field_of(error_fields& fields, char type) noexcept {
    switch (type) {
        case 'S':
            return &fields.severity;
        case 'V':
            return &fields.severity_nonlocalized;
        case 'C':
            return &fields.sqlstate;
        case 'M':
            return &fields.message;
        case 'D':
            return &fields.detail;
        case 'H':
            return &fields.hint;
        case 'P':
            return &fields.position;
        case 'p':
            return &fields.internal_position;
        case 'q':
            return &fields.internal_query;
        case 'W':
            return &fields.where;
        case 's':
            return &fields.schema_name;
        case 't':
            return &fields.table_name;
        case 'c':
            return &fields.column_name;
        case 'd':
            return &fields.data_type_name;
        case 'n':
            return &fields.constraint_name;
        case 'F':
            return &fields.file;
        case 'L':
            return &fields.line;
        case 'R':
            return &fields.routine;
    }
    return nullptr;
}

// The data of AuthenticationSASL: names, and an empty one as the last byte.
std::optional<text_list> parse_mechanisms(bytes data) noexcept {
    reader in(data);
    std::string_view const first = in.text();
    for (std::string_view name = first; !name.empty();) name = in.text();
    if (!in.finished() || first.empty()) return std::nullopt;
    return text_list(data.first(data.size() - 1));
}

void write_fields(std::string& out, char type, error_fields_out const& fields) {
    writer message(out, type);
    message.byte('S').text(fields.severity);
    message.byte('V').text(fields.severity);
    message.byte('C').text(fields.sqlstate);
    message.byte('M').text(fields.message);
    if (!fields.detail.empty()) message.byte('D').text(fields.detail);
    if (!fields.hint.empty()) message.byte('H').text(fields.hint);
    if (!fields.routine.empty()) message.byte('R').text(fields.routine);
    message.byte('\0');
}

struct fnv1a {
    std::uint64_t value = 14695981039346656037ULL;
    void mix(bytes part) noexcept {
        for (std::byte const b : part) value = (value ^ std::to_integer<std::uint64_t>(b)) * 1099511628211ULL;
    }
};

void write_authentication(std::string& out, authentication_code code, std::string_view data = {}) {
    writer(out, backend::authentication).int32(static_cast<std::uint32_t>(code)).raw(data);
}

}  // namespace

std::optional<std::string_view> text_list::next() noexcept {
    reader in(rest_);
    std::string_view const text = in.text();
    rest_ = in.rest();
    if (!in.good()) return std::nullopt;
    return text;
}

std::optional<authentication> parse_authentication(bytes body) noexcept {
    reader in(body);
    authentication message{};
    message.code = static_cast<authentication_code>(in.int32());
    message.data = in.rest();
    if (!in.good()) return std::nullopt;
    switch (message.code) {
        case authentication_code::ok:
        case authentication_code::kerberos_v5:
        case authentication_code::cleartext_password:
        case authentication_code::gss:
        case authentication_code::sspi:
            if (!message.data.empty()) return std::nullopt;
            break;
        case authentication_code::md5_password:
            if (message.data.size() != 4) return std::nullopt;
            break;
        case authentication_code::sasl: {
            auto const mechanisms = parse_mechanisms(message.data);
            if (!mechanisms) return std::nullopt;
            message.mechanisms = *mechanisms;
            break;
        }
        case authentication_code::gss_continue:
        case authentication_code::sasl_continue:
        case authentication_code::sasl_final:
            break;
    }
    return message;
}

std::optional<parameter_status> parse_parameter_status(bytes body) noexcept {
    reader in(body);
    parameter_status message{};
    message.name = in.text();
    message.value = in.text();
    if (!in.finished()) return std::nullopt;
    return message;
}

std::optional<backend_key_data> parse_backend_key_data(bytes body) noexcept {
    reader in(body);
    backend_key_data message{};
    message.pid = in.int32();
    message.secret = in.rest();
    if (!in.good() || message.secret.size() < min_secret_bytes || message.secret.size() > max_secret_bytes)
        return std::nullopt;
    return message;
}

std::optional<notification> parse_notification_response(bytes body) noexcept {
    reader in(body);
    notification message{};
    message.pid = in.int32();
    message.channel = in.text();
    message.payload = in.text();
    if (!in.finished()) return std::nullopt;
    return message;
}

std::optional<char> parse_ready_for_query(bytes body) noexcept {
    reader in(body);
    char const status = in.byte();
    if (!in.finished()) return std::nullopt;
    if (status != idle && status != in_transaction && status != in_failed_transaction) return std::nullopt;
    return status;
}

std::optional<std::string_view> parse_command_complete(bytes body) noexcept {
    reader in(body);
    std::string_view const tag = in.text();
    if (!in.finished()) return std::nullopt;
    return tag;
}

std::optional<std::uint64_t> parse_parameter_shape(bytes body) noexcept {
    reader in(body);
    std::size_t const count = in.uint16();
    fnv1a shape;
    shape.mix(in.take(4 * count));
    if (!in.finished()) return std::nullopt;
    return shape.value;
}

std::optional<std::uint64_t> parse_row_shape(bytes body) noexcept {
    reader in(body);
    fnv1a shape;
    for (std::size_t columns = in.uint16(); columns > 0 && in.good(); --columns) {
        std::string_view const name = in.text();
        shape.mix(as_bytes(name));
        shape.mix(as_bytes(std::string_view("\0", 1)));
        in.take(6);       // OID of the table, number of the column
        shape.mix(in.take(10));  // type: OID, size, modifier
        in.take(2);       // format
    }
    if (!in.finished()) return std::nullopt;
    return shape.value;
}

std::optional<error_fields> parse_error_fields(bytes body) noexcept {
    reader in(body);
    error_fields fields;
    for (char type = in.byte(); type != '\0'; type = in.byte()) {
        std::string_view const text = in.text();
        if (auto* const field = field_of(fields, type)) *field = text;
    }
    if (!in.finished()) return std::nullopt;
    return fields;
}

std::optional<negotiate_protocol_version> parse_negotiate_protocol_version(bytes body) noexcept {
    reader in(body);
    negotiate_protocol_version message{};
    message.protocol = in.uint32();
    message.unsupported_count = in.uint32();
    message.unsupported = text_list(in.rest());
    // Each takes a byte at least, so a count that lies ends with the body.
    for (std::uint32_t i = 0; i < message.unsupported_count && in.good(); ++i) in.text();
    if (!in.finished()) return std::nullopt;
    return message;
}

void write_authentication_ok(std::string& out) {
    write_authentication(out, authentication_code::ok);
}

void write_authentication_cleartext_password(std::string& out) {
    write_authentication(out, authentication_code::cleartext_password);
}

void write_authentication_md5_password(std::string& out, bytes salt) {
    writer message(out, backend::authentication);
    message.int32(static_cast<std::uint32_t>(authentication_code::md5_password)).raw(salt);
}

void write_authentication_sasl(std::string& out, std::span<std::string_view const> mechanisms) {
    writer message(out, backend::authentication);
    message.int32(static_cast<std::uint32_t>(authentication_code::sasl));
    for (std::string_view const name : mechanisms) message.text(name);
    message.byte('\0');
}

void write_authentication_sasl_continue(std::string& out, std::string_view data) {
    write_authentication(out, authentication_code::sasl_continue, data);
}

void write_authentication_sasl_final(std::string& out, std::string_view data) {
    write_authentication(out, authentication_code::sasl_final, data);
}

void write_parameter_status(std::string& out, std::string_view name, std::string_view value) {
    writer(out, backend::parameter_status).text(name).text(value);
}

void write_notification_response(std::string& out, std::int32_t pid, std::string_view channel,
                                 std::string_view payload) {
    writer(out, backend::notification_response).int32(static_cast<std::uint32_t>(pid)).text(channel).text(payload);
}

void write_backend_key_data(std::string& out, std::int32_t pid, bytes secret) {
    writer(out, backend::backend_key_data).int32(static_cast<std::uint32_t>(pid)).raw(secret);
}

void write_ready_for_query(std::string& out, char status) {
    char const message[] = {backend::ready_for_query, 0, 0, 0, 5, status};  // each query has one
    out.append(message, sizeof message);
}

void write_command_complete(std::string& out, std::string_view tag) {
    writer(out, backend::command_complete).text(tag);
}

void write_empty_query_response(std::string& out) {
    writer(out, backend::empty_query_response);
}

void write_parse_complete(std::string& out) {
    writer(out, backend::parse_complete);
}

void write_bind_complete(std::string& out) {
    writer(out, backend::bind_complete);
}

void write_close_complete(std::string& out) {
    writer(out, backend::close_complete);
}

void write_parameter_description(std::string& out) {
    writer(out, backend::parameter_description).int16(0);
}

void write_no_data(std::string& out) {
    writer(out, backend::no_data);
}

void write_portal_suspended(std::string& out) {
    writer(out, backend::portal_suspended);
}

void write_error_response(std::string& out, error_fields_out const& fields) {
    write_fields(out, backend::error_response, fields);
}

void write_notice_response(std::string& out, error_fields_out const& fields) {
    write_fields(out, backend::notice_response, fields);
}

std::string with_severity(std::string_view error, std::string_view severity) {
    auto const fields =
        error.size() > header_bytes ? parse_error_fields(as_bytes(error).subspan(header_bytes)) : std::nullopt;
    std::string out;
    if (!fields || !fields->message) return std::string(error);
    write_error_response(out, {.severity = severity,
                               .sqlstate = fields->sqlstate.value_or("XX000"),
                               .message = *fields->message,
                               .detail = fields->detail.value_or(""),
                               .hint = fields->hint.value_or("")});
    return out;
}

std::string with_hint(std::string_view error, std::string_view hint) {
    std::string out;
    // Before the NUL that ends the fields.
    writer(out, backend::error_response)
        .raw(error.substr(header_bytes, error.size() - header_bytes - 1))
        .byte('H')
        .text(hint)
        .byte('\0');
    return out;
}

}  // namespace lull::pg
