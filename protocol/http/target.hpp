// Request targets (RFC 9112 section 3.2, RFC 3986) and hosts, brought into one spelling: rules are matched
// against the same bytes that are forwarded. Pure; any thread.
#pragma once

#include "protocol/http/errc.hpp"

#include <string>
#include <string_view>

namespace lull::http {

struct target {
    /// `/...` without dot segments and double slashes, unreserved characters decoded, %XX in upper case;
    /// or `*` of OPTIONS.
    std::string path;
    /// With its `?`, as the client wrote it, except that bytes above ASCII are encoded; or empty.
    std::string query;
    /// What a careless application may make of `path`: %2F, %5C and backslashes as slashes, `..;x` as `..`,
    /// everything decoded once, normalised again. Empty: the same as `path`. A rule must let both through.
    std::string careless_path;
    /// The authority of an absolute-form target, normalised; empty with the other forms.
    std::string host;

    void clear();
};

/// `method` decides which forms are allowed. `out` is cleared first; its capacity is used again.
[[nodiscard]] errc parse_target(std::string_view method, std::string_view text, target& out);

/// Lower case, without port and trailing dot, as snapshot::by_host has it. False: malformed.
[[nodiscard]] bool normalise_host(std::string_view text, std::string& out);

}  // namespace lull::http
