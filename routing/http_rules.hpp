// What happens to a request while its site is in maintenance: the safety of its method and the rules of the
// site. Pure values; the paths come normalised (protocol/http/target.hpp). Any thread.
#pragma once

#include "config/model.hpp"
#include "routing/snapshot.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace lull::routing {

/// RFC 9110 section 9.2: safe ones do not ask for a change; idempotent ones may be sent twice.
enum class method_class : std::uint8_t { safe, idempotent, unsafe };

/// Names are case-sensitive; an unknown method is unsafe.
method_class classify_method(std::string_view method) noexcept;

struct http_request {
    std::string_view method;
    /// X-HTTP-Method-Override and the like, in upper case; empty: none. The more dangerous of the two counts.
    std::string_view method_override;
    std::string_view path;
    /// As a careless application may read the path; empty: the same. A rule must hold for both.
    std::string_view careless_path;
};

enum class http_verdict : std::uint8_t {
    pass,    // it only reads, or a rule says so
    write,   // it may write: passed on, and counted where sealing must wait for it
    refuse,  // answered 503
};

/// In read_write mode everything passes and no rule is asked to refuse.
http_verdict judge(http_request const&, config::site const&, mode) noexcept;

/// `*` matches within a segment, a segment `**` any number of segments (at the end at least one, which may be
/// empty: `/a/**` is not `/a`); everything else is itself. Polynomial for any input.
bool glob_matches(std::string_view pattern, std::string_view path) noexcept;

}  // namespace lull::routing
