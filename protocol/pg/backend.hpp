// Messages of servers (manual, "Message Formats", those marked B): parsers of a frame's body and writers of
// whole messages. Pure functions, any thread. Parsers copy nothing: their views die with the body. They give
// nothing where the body is not what the manual says; a server is as little trusted as a client.
#pragma once

#include "protocol/pg/bytes.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lull::pg {

/// Other values may come: a server may want what we do not know.
enum class authentication_code : std::int32_t {
    ok = 0,
    kerberos_v5 = 2,
    cleartext_password = 3,
    md5_password = 5,
    gss = 7,
    gss_continue = 8,
    sspi = 9,
    sasl = 10,
    sasl_continue = 11,
    sasl_final = 12,
};

/// Texts that follow one another, each with its NUL. A view.
class text_list {
  public:
    text_list() = default;
    explicit text_list(bytes rest) noexcept : rest_(rest) {}
    /// Nothing: the end, also where the last text has no terminator.
    [[nodiscard]] std::optional<std::string_view> next() noexcept;

  private:
    bytes rest_;
};

struct authentication {
    authentication_code code;
    bytes data;  // md5_password: the salt, 4 bytes; sasl_continue, sasl_final: SASL's; sasl: see mechanisms
    text_list mechanisms;  // sasl only; at least one
};

struct parameter_status {
    std::string_view name;
    std::string_view value;
};

struct backend_key_data {
    std::int32_t pid;
    bytes secret;  // min_secret_bytes to max_secret_bytes
};

/// Any field may be missing (no value): poolers and old servers leave out even V and C.
struct error_fields {
    std::optional<std::string_view> severity;               // S, in the server's language
    std::optional<std::string_view> severity_nonlocalized;  // V
    std::optional<std::string_view> sqlstate;               // C
    std::optional<std::string_view> message;                // M
    std::optional<std::string_view> detail;                 // D
    std::optional<std::string_view> hint;                   // H
    std::optional<std::string_view> position;               // P
    std::optional<std::string_view> internal_position;      // p
    std::optional<std::string_view> internal_query;         // q
    std::optional<std::string_view> where;                  // W
    std::optional<std::string_view> schema_name;            // s
    std::optional<std::string_view> table_name;             // t
    std::optional<std::string_view> column_name;            // c
    std::optional<std::string_view> data_type_name;         // d
    std::optional<std::string_view> constraint_name;        // n
    std::optional<std::string_view> file;                   // F
    std::optional<std::string_view> line;                   // L
    std::optional<std::string_view> routine;                // R

    [[nodiscard]] bool has_sqlstate(std::string_view code) const noexcept {
        return sqlstate && *sqlstate == code;
    }
};

struct notification {
    std::int32_t pid;  // of the backend that notified
    std::string_view channel;
    std::string_view payload;
};

struct negotiate_protocol_version {
    std::uint32_t protocol;  // major << 16 | minor
    std::uint32_t unsupported_count;
    text_list unsupported;
};

[[nodiscard]] std::optional<authentication> parse_authentication(bytes body) noexcept;
[[nodiscard]] std::optional<parameter_status> parse_parameter_status(bytes body) noexcept;
[[nodiscard]] std::optional<backend_key_data> parse_backend_key_data(bytes body) noexcept;
[[nodiscard]] std::optional<notification> parse_notification_response(bytes body) noexcept;
/// `idle`, `in_transaction` or `in_failed_transaction` (types.hpp).
[[nodiscard]] std::optional<char> parse_ready_for_query(bytes body) noexcept;
/// The tag.
[[nodiscard]] std::optional<std::string_view> parse_command_complete(bytes body) noexcept;
/// ParameterDescription: a number for the types, as the next.
[[nodiscard]] std::optional<std::uint64_t> parse_parameter_shape(bytes body) noexcept;
/// RowDescription: a number for what PostgreSQL compares of two results (equalTupleDescs), which is names and types, and
/// neither the formats nor which table a column is of. Two that differ have the same by chance only.
[[nodiscard]] std::optional<std::uint64_t> parse_row_shape(bytes body) noexcept;
/// ErrorResponse and NoticeResponse. Fields of unknown type are skipped, as the manual asks; of a repeated
/// one the last counts.
[[nodiscard]] std::optional<error_fields> parse_error_fields(bytes body) noexcept;
[[nodiscard]] std::optional<negotiate_protocol_version> parse_negotiate_protocol_version(bytes body) noexcept;

// Writers append a whole message to `out`. A text with a NUL inside is cut there: the wire cannot say it.

void write_authentication_ok(std::string& out);
void write_authentication_cleartext_password(std::string& out);
/// `salt`: 4 bytes.
void write_authentication_md5_password(std::string& out, bytes salt);
void write_authentication_sasl(std::string& out, std::span<std::string_view const> mechanisms);
void write_authentication_sasl_continue(std::string& out, std::string_view data);
void write_authentication_sasl_final(std::string& out, std::string_view data);
void write_parameter_status(std::string& out, std::string_view name, std::string_view value);
void write_backend_key_data(std::string& out, std::int32_t pid, bytes secret);
void write_ready_for_query(std::string& out, char status);
void write_notification_response(std::string& out, std::int32_t pid, std::string_view channel,
                                 std::string_view payload);
void write_command_complete(std::string& out, std::string_view tag);
void write_empty_query_response(std::string& out);
void write_parse_complete(std::string& out);
void write_bind_complete(std::string& out);
void write_close_complete(std::string& out);
/// Of a statement without parameters.
void write_parameter_description(std::string& out);
void write_no_data(std::string& out);
void write_portal_suspended(std::string& out);

/// A whole ErrorResponse with another severity; as it is where it cannot be parsed.
std::string with_severity(std::string_view error, std::string_view severity);
/// A whole ErrorResponse with one field more.
std::string with_hint(std::string_view error, std::string_view hint);

/// What our own errors and notices say; written in PostgreSQL's order, severity as both S and V.
/// What is empty is left out.
struct error_fields_out {
    std::string_view severity = "ERROR";  // ERROR FATAL PANIC; WARNING NOTICE DEBUG INFO LOG
    std::string_view sqlstate = "XX000";
    std::string_view message;
    std::string_view detail;
    std::string_view hint;
    std::string_view routine;  // where drivers go by it
};

void write_error_response(std::string& out, error_fields_out const& fields);
void write_notice_response(std::string& out, error_fields_out const& fields);

}  // namespace lull::pg
