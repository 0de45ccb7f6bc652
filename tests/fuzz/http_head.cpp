// Heads, targets and hosts of both kinds of messages: no input may be read outside its bytes, a head means
// the same however it is cut, and a normalised target stays as it is.
#include "protocol/http/head.hpp"
#include "protocol/http/problem.hpp"
#include "protocol/http/target.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace lull::http;

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const in(reinterpret_cast<char const*>(data), size);
    head_limits const limits{4096, 2048, 20};

    head_scanner whole;
    auto const found = whole.scan(in, limits);
    head_scanner cut;
    std::variant<std::size_t, head_incomplete, errc> last = head_incomplete{};
    for (std::size_t n = 1; n <= size && std::holds_alternative<head_incomplete>(last); ++n)
        last = cut.scan(in.substr(0, n), limits);
    bool const complete = std::holds_alternative<std::size_t>(found);
    if (complete && (!std::holds_alternative<std::size_t>(last) ||
                     std::get<std::size_t>(last) != std::get<std::size_t>(found)))
        std::abort();
    if (std::holds_alternative<std::size_t>(last) && !complete) std::abort();
    if (!complete) return 0;

    std::string_view const bytes = in.substr(0, std::get<std::size_t>(found));
    request_head request;
    if (parse_request_head(bytes, limits, request) == errc::none) {
        (void)choose_format(request);
        target t;
        if (parse_target(request.method, request.target, t) == errc::none && t.path != "*") {
            target again;
            if (parse_target(request.method, t.path + t.query, again) != errc::none || again.path != t.path ||
                again.query != t.query)
                std::abort();
            if (t.path.find("/../") != std::string::npos || t.path.find("//") != std::string::npos ||
                t.path.front() != '/')
                std::abort();
        }
        std::string host;
        (void)normalise_host(request.host, host);
    }
    response_head response;
    (void)parse_response_head(bytes, limits, answered::other, response);
    return 0;
}
