// Whether a stream of messages that is only passed on stands between two of them: a message of our own may go
// there, and nowhere else. Owned by whoever passes the stream.
#pragma once

#include "protocol/pg/frame.hpp"

#include <algorithm>
#include <array>

namespace lull::pg {

class message_edge {
  public:
    /// The next bytes of the stream, cut anywhere. Bodies are counted and not looked into.
    void pass(bytes in) noexcept {
        while (!in.empty() && !lost_) {
            std::size_t const skipped = std::min<std::size_t>(body_left_, in.size());
            body_left_ -= static_cast<std::uint32_t>(skipped);
            in = in.subspan(skipped);
            std::size_t const taken = std::min(header_bytes - in_header_, in.size());
            if (taken == 0) return;
            std::copy_n(in.begin(), taken, header_.begin() + static_cast<std::ptrdiff_t>(in_header_));
            in_header_ += taken;
            in = in.subspan(taken);
            if (in_header_ < header_bytes) return;
            in_header_ = 0;
            auto const header = parse_header(header_);
            lost_ = !header;
            if (header) body_left_ = header->body_bytes;
        }
    }
    /// False for good once a length was impossible.
    [[nodiscard]] bool between_messages() const noexcept {
        return !lost_ && in_header_ == 0 && body_left_ == 0;
    }

  private:
    std::array<std::byte, header_bytes> header_{};
    std::size_t in_header_ = 0;
    std::uint32_t body_left_ = 0;
    bool lost_ = false;
};

}  // namespace lull::pg
