#include "protocol/pg/frontend.hpp"

#include "protocol/pg/reader.hpp"
#include "protocol/pg/types.hpp"
#include "protocol/pg/writer.hpp"

#include <algorithm>

namespace lull::pg {
namespace {

constexpr std::size_t oid_bytes = 4;

bool is_name(std::string_view text) noexcept {
    return text.size() <= max_name_bytes;
}

// A body that is one text.
std::optional<std::string_view> parse_text(bytes body) noexcept {
    reader in(body);
    std::string_view const text = in.text();
    if (!in.finished()) return std::nullopt;
    return text;
}

std::optional<target_message> parse_target(bytes body) noexcept {
    reader in(body);
    char const kind = in.byte();
    std::string_view const name = in.text();
    if (!in.finished() || !is_name(name)) return std::nullopt;
    if (kind != static_cast<char>(target_kind::statement) && kind != static_cast<char>(target_kind::portal))
        return std::nullopt;
    return target_message{static_cast<target_kind>(kind), name};
}

}  // namespace

std::optional<std::string_view> parse_query(bytes body) noexcept {
    return parse_text(body);
}

std::optional<parse_message> parse_parse(bytes body) noexcept {
    reader in(body);
    parse_message message{};
    message.statement = in.text();
    message.query = in.text();
    // Called Int16, but 65535 parameters are allowed: PostgreSQL and its clients count without a sign.
    message.parameter_count = in.uint16();
    message.parameter_types = in.take(message.parameter_count * oid_bytes);
    if (!in.finished() || !is_name(message.statement)) return std::nullopt;
    return message;
}

bind_result parse_bind_names(bytes prefix, std::size_t body_bytes) noexcept {
    // Behind the names come at least three counts of two bytes each.
    constexpr std::size_t least_rest = 6;
    prefix = prefix.first(std::min(prefix.size(), body_bytes));
    reader in(prefix);
    std::string_view names[2];
    for (std::string_view& name : names) {
        bytes const begun = in.rest();
        name = in.text();
        bool const is_cut = !in.good();
        if (is_cut ? begun.size() > max_name_bytes : !is_name(name)) return errc::name_too_long;
        if (!is_cut) continue;
        if (body_bytes - prefix.size() <= least_rest) return errc::malformed_message;
        return need_more{1};
    }
    std::size_t const rest = prefix.size() - in.rest().size();
    if (body_bytes - rest < least_rest) return errc::malformed_message;
    return bind_names{names[0], names[1], rest};
}

std::optional<target_message> parse_describe(bytes body) noexcept {
    return parse_target(body);
}

std::optional<target_message> parse_close(bytes body) noexcept {
    return parse_target(body);
}

std::optional<execute_message> parse_execute(bytes body) noexcept {
    reader in(body);
    execute_message message{};
    message.portal = in.text();
    message.max_rows = in.int32();
    if (!in.finished() || !is_name(message.portal)) return std::nullopt;
    return message;
}

std::optional<std::string_view> parse_password(bytes body) noexcept {
    return parse_text(body);
}

std::optional<sasl_initial_response> parse_sasl_initial_response(bytes body) noexcept {
    reader in(body);
    sasl_initial_response message{};
    message.mechanism = in.text();
    std::int32_t const length = in.int32();
    if (length < -1) return std::nullopt;
    if (length >= 0) message.data = as_text(in.take(static_cast<std::size_t>(length)));
    if (!in.finished()) return std::nullopt;
    return message;
}

std::optional<std::string_view> parse_sasl_response(bytes body) noexcept {
    return as_text(body);
}

std::optional<std::string_view> parse_copy_fail(bytes body) noexcept {
    return parse_text(body);
}

void write_query(std::string& out, std::string_view query) {
    writer(out, frontend::query).text(query);
}

void write_parse(std::string& out, std::string_view statement, std::string_view query,
                 bytes parameter_types) {
    auto const count = static_cast<std::uint16_t>(parameter_types.size() / oid_bytes);
    writer(out, frontend::parse)
        .text(statement)
        .text(query)
        .int16(count)
        .raw(parameter_types.first(count * oid_bytes));
}

void write_bind_renamed(std::string& out, std::string_view portal, std::string_view statement, bytes rest) {
    writer(out, frontend::bind).text(portal).text(statement).raw(rest);
}

void write_bind_renamed_header(std::string& out, std::size_t rest_bytes, std::string_view portal,
                               std::string_view statement) {
    writer(out, frontend::bind).text(portal).text(statement).followed_by(rest_bytes);
}

void write_describe(std::string& out, target_kind kind, std::string_view name) {
    writer(out, frontend::describe).byte(static_cast<char>(kind)).text(name);
}

void write_execute(std::string& out, std::string_view portal, std::int32_t max_rows) {
    writer(out, frontend::execute).text(portal).int32(static_cast<std::uint32_t>(max_rows));
}

void write_close(std::string& out, target_kind kind, std::string_view name) {
    writer(out, frontend::close).byte(static_cast<char>(kind)).text(name);
}

void write_sync(std::string& out) {
    writer(out, frontend::sync);
}

void write_flush(std::string& out) {
    writer(out, frontend::flush);
}

void write_terminate(std::string& out) {
    writer(out, frontend::terminate);
}

void write_password(std::string& out, std::string_view password) {
    writer(out, frontend::password).text(password);
}

void write_sasl_initial_response(std::string& out, std::string_view mechanism, std::string_view data) {
    writer(out, frontend::password).text(mechanism).int32(static_cast<std::uint32_t>(data.size())).raw(data);
}

void write_sasl_response(std::string& out, std::string_view data) {
    writer(out, frontend::password).raw(data);
}

void write_copy_fail(std::string& out, std::string_view reason) {
    writer(out, frontend::copy_fail).text(reason);
}

}  // namespace lull::pg
