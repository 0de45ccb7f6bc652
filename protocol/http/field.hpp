// Header fields and the names that a proxy must know. Values and views; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace lull::http {

/// The fields that Lull reads, replaces or removes. `other` is passed on as it came.
enum class field_id : std::uint8_t {
    other,
    accept,
    connection,
    content_length,
    content_type,
    date,
    expect,
    forwarded,  // and every X-Forwarded-*, X-Real-IP: said by a client, not known to be true
    host,
    keep_alive,
    lull,             // X-Read-Only-*, X-Lull-*, X-Frappe-Site-Name: ours to say
    method_override,  // X-HTTP-Method-Override, X-HTTP-Method, X-Method-Override
    proxy,            // Proxy-* except Proxy-Status, and Proxy itself, which becomes HTTP_PROXY in a CGI
    request_id,
    sec_fetch_mode,
    te,
    trailer,
    transfer_encoding,
    upgrade,
    via,
};

/// Both views point into the bytes that the head was parsed from and die with them.
struct field {
    std::string_view name;
    std::string_view value;
    field_id id = field_id::other;
    /// The name has a character that CGI and WSGI fold to the same as `-`, as in X_Forwarded_For: it would
    /// reach the application as the field that `id` says, so it is not that field here but must not pass.
    bool disguised = false;
};

/// Ignores case. `disguised` is set where the name is not the plain spelling of a known field.
field_id identify(std::string_view name, bool& disguised) noexcept;

}  // namespace lull::http
