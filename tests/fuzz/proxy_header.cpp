// Any header of the PROXY protocol: what is understood is within the input, and says nothing but an address;
// what needs more never becomes something else when cut.
#include "protocol/proxy_header.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

using namespace lull;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::span<std::byte const> const in{reinterpret_cast<std::byte const*>(data), size};
    auto const result = parse_proxy_header(in);
    if (auto const* more = std::get_if<need_more>(&result)) require(more->bytes > 0);
    auto const* header = std::get_if<proxy_header>(&result);
    if (!header) return 0;
    require(header->bytes <= size && header->bytes <= 16 + max_proxy_extra_bytes);
    require(std::all_of(header->host.begin(), header->host.end(), [](char c) {
        return std::string_view("0123456789abcdefABCDEF.:").find(c) != std::string_view::npos;
    }));
    for (std::size_t cut = 0; cut < header->bytes; cut += 1 + header->bytes / 64)
        require(std::holds_alternative<need_more>(parse_proxy_header(in.first(cut))));
    return 0;
}
