// Messages of clients (manual, "Message Formats", those marked F): parsers of a frame's body and writers of
// whole messages. Pure functions, any thread. Parsers copy nothing: their views die with the body. They give
// nothing where the body is not exactly what the manual says: a missing terminator, bytes left over, a length
// that does not fit, a name longer than max_name_bytes. What PostgreSQL accepts they accept.
#pragma once

#include "protocol/errc.hpp"
#include "protocol/pg/bytes.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace lull::pg {

/// Of a prepared statement or a portal. PostgreSQL itself tells names apart by their first 63 bytes.
inline constexpr std::size_t max_name_bytes = 1024;

enum class target_kind : char { statement = 'S', portal = 'P' };

struct parse_message {
    std::string_view statement;  // empty: the unnamed one
    std::string_view query;
    bytes parameter_types;  // parameter_count OIDs of four bytes, as on the wire
    std::uint16_t parameter_count;
};

struct bind_names {
    std::string_view portal;
    std::string_view statement;
    std::size_t rest;  // where in the body the parameters begin
};

/// Describe and Close.
struct target_message {
    target_kind kind;
    std::string_view name;
};

struct execute_message {
    std::string_view portal;
    std::int32_t max_rows;  // zero, and to PostgreSQL also less: no limit
};

struct sasl_initial_response {
    std::string_view mechanism;
    std::optional<std::string_view> data;
};

[[nodiscard]] std::optional<std::string_view> parse_query(bytes body) noexcept;
[[nodiscard]] std::optional<parse_message> parse_parse(bytes body) noexcept;

using bind_result = std::variant<bind_names, need_more, errc>;

/// Needs only the beginning of the body: `prefix` are its first bytes, `body_bytes` its whole size as the
/// header tells it. The rest of a Bind may be large, is not ours to judge, and can be streamed behind the
/// names. Errors: name_too_long, malformed_message.
[[nodiscard]] bind_result parse_bind_names(bytes prefix, std::size_t body_bytes) noexcept;

[[nodiscard]] std::optional<target_message> parse_describe(bytes body) noexcept;
[[nodiscard]] std::optional<target_message> parse_close(bytes body) noexcept;
[[nodiscard]] std::optional<execute_message> parse_execute(bytes body) noexcept;
/// PasswordMessage; an empty password is well formed.
[[nodiscard]] std::optional<std::string_view> parse_password(bytes body) noexcept;
[[nodiscard]] std::optional<sasl_initial_response> parse_sasl_initial_response(bytes body) noexcept;
/// The body is the data.
[[nodiscard]] std::optional<std::string_view> parse_sasl_response(bytes body) noexcept;
/// The client's reason.
[[nodiscard]] std::optional<std::string_view> parse_copy_fail(bytes body) noexcept;
/// Sync, Flush, Terminate and CopyDone have no body.
[[nodiscard]] inline bool is_empty_body(bytes body) noexcept {
    return body.empty();
}

// Writers append a whole message to `out`. A text with a NUL inside is cut there: the wire cannot say it.

void write_query(std::string& out, std::string_view query);
/// `parameter_types`: OIDs of four bytes as on the wire, at most 65535.
void write_parse(std::string& out, std::string_view statement, std::string_view query,
                 bytes parameter_types = {});
/// A client's Bind under other names. `rest`: its body from bind_names::rest on.
void write_bind_renamed(std::string& out, std::string_view portal, std::string_view statement, bytes rest);
/// The same for a Bind whose rest is streamed behind it: writes header and names only; exactly `rest_bytes`
/// bytes (the client's body size less bind_names::rest) must follow.
void write_bind_renamed_header(std::string& out, std::size_t rest_bytes, std::string_view portal,
                               std::string_view statement);
void write_describe(std::string& out, target_kind kind, std::string_view name);
void write_execute(std::string& out, std::string_view portal, std::int32_t max_rows = 0);
void write_close(std::string& out, target_kind kind, std::string_view name);
void write_sync(std::string& out);
void write_flush(std::string& out);
void write_terminate(std::string& out);
void write_password(std::string& out, std::string_view password);
void write_sasl_initial_response(std::string& out, std::string_view mechanism, std::string_view data);
void write_sasl_response(std::string& out, std::string_view data);
void write_copy_fail(std::string& out, std::string_view reason);

}  // namespace lull::pg
