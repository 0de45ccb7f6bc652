// Splits any bytes into frames, whole and byte by byte: both ways must find the same.
#include "protocol/pg/frame.hpp"

#include <cstdint>
#include <cstdlib>

using namespace lull;
using namespace lull::pg;

namespace {

constexpr std::uint32_t max_body = 300;

void require(bool condition) {
    if (!condition) std::abort();
}

/// What next_frame says of a stream of which ever more is there.
frame_result grow(bytes in) {
    std::size_t size = 0;
    for (;;) {
        frame_result const result = next_frame(in.first(size), max_body);
        auto const* const more = std::get_if<need_more>(&result);
        if (more == nullptr) return result;
        require(more->bytes > 0);
        if (more->bytes > in.size() - size) return result;
        size += more->bytes;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    bytes in{reinterpret_cast<std::byte const*>(data), size};
    for (;;) {
        frame_result const result = next_frame(in, max_body);
        frame_result const grown = grow(in);
        require(result.index() == grown.index());
        auto const* const f = std::get_if<frame>(&result);
        if (f == nullptr) return 0;
        require(f->whole.data() == in.data() && f->whole.size() == f->body.size() + header_bytes);
        require(f->body.size() <= max_body);
        require(std::get<frame>(grown).whole.size() == f->whole.size());
        in = in.subspan(f->whole.size());
    }
}
