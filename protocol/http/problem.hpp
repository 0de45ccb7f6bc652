// What a client is told when Lull answers in place of the application: a problem document (RFC 9457) or a
// page for people, and which of the two it can use. Pure; any thread.
#pragma once

#include "protocol/http/head.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lull::http {

enum class answer_format : std::uint8_t { problem, page };

/// Sec-Fetch-Mode decides where it is sent: a navigation wants a page. Else Accept: a page only where HTML is
/// asked for by name and not less than JSON.
answer_format choose_format(request_head const&);

struct problem {
    unsigned status = 500;
    std::string_view code;    // stable, for programs: "read_only"; also the end of `type`
    std::string_view title;   // the same for every problem of this code
    std::string_view detail;  // about this one
    std::string_view request_id;
    std::string_view site;
    // Only with code "read_only":
    bool read_only = false;
    std::string_view until;  // RFC 3339; empty: unknown
    std::uint64_t retry_after_seconds = 0;
    std::uint64_t epoch = 0;
};

std::string problem_document(problem const&);
/// Self-contained: no script, no other resource. Everything variable is escaped.
std::string problem_page(problem const&);

/// With its quotes. Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

}  // namespace lull::http
