// Any first packet; what was understood is written again and must be understood the same.
#include "protocol/pg/startup.hpp"

#include <cstdint>
#include <cstdlib>

using namespace lull;
using namespace lull::pg;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void write_again(startup_message const& message) {
    std::string out;
    write_startup(out, message.parameters, static_cast<std::uint32_t>(message.major) << 16 | message.minor);
    auto const again = parse_startup(as_bytes(out));
    require(std::get<startup_message>(again).parameters == message.parameters);
    require(out.size() == message.packet_bytes);
    if (auto const options = message.find("options")) (void)parse_options(*options);
}

void write_again(cancel_request const& request) {
    std::string out;
    write_cancel_request(out, request.pid, request.secret);
    auto const again = parse_startup(as_bytes(out));
    require(as_text(std::get<cancel_request>(again).secret) == as_text(request.secret));
    require(out.size() == request.packet_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    bytes const in{reinterpret_cast<std::byte const*>(data), size};
    auto const result = parse_startup(in);
    if (auto const* const message = std::get_if<startup_message>(&result)) write_again(*message);
    if (auto const* const request = std::get_if<cancel_request>(&result)) write_again(*request);
    if (auto const* const more = std::get_if<need_more>(&result)) require(more->bytes > 0);

    auto const options = parse_options(as_text(in));
    if (auto const* const parameters = std::get_if<parameter_list>(&options))
        for (auto const& [name, value] : *parameters)
            require(!name.empty() && name.find('-') == std::string::npos);
    return 0;
}
