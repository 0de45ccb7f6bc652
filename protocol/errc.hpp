// What a parser or a state machine says in place of a result: that it needs more bytes, or which error it
// found. Values; usable on any thread. errc converts to boost::system::error_code, category "lull.protocol".
#pragma once

#include <boost/system/error_category.hpp>
#include <boost/system/error_code.hpp>

#include <cstddef>
#include <type_traits>

namespace lull {

/// Nothing is wrong, but the input ends too early. `bytes`: at least so many more are needed.
struct need_more {
    std::size_t bytes;
    friend bool operator==(need_more const&, need_more const&) = default;
};

/// Starts at 1: zero means success to boost::system. The sentence for each is in errc.cpp.
enum class errc {
    // any message
    bad_frame_length = 1,
    frame_too_large,
    unexpected_message,
    malformed_message,
    name_too_long,
    // the first packet of a connection
    bad_startup_length,
    malformed_startup,
    unsupported_protocol_version,
    malformed_options,
    // SASL
    scram_malformed,
    scram_too_long,
    scram_channel_binding,
    scram_authorization_identity,
    scram_nonce,
    scram_iterations,
    scram_salt,
    scram_wrong_proof,
    scram_server_refused,
    scram_server_signature,
    scram_bad_verifier,
    crypto_failed,
    // before anything
    malformed_proxy_header,
};

boost::system::error_category const& protocol_category() noexcept;

inline boost::system::error_code make_error_code(errc e) noexcept {
    return {static_cast<int>(e), protocol_category()};
}

/// One sentence for logs and ErrorResponse; static storage.
char const* message_of(errc) noexcept;

}  // namespace lull

template <>
struct boost::system::is_error_code_enum<lull::errc> : std::true_type {};
