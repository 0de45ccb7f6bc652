// Where a peer sends much, its socket wakes us for each quarter of a megabyte and not for each of its packets: half of what a
// COPY costs is wake-ups. SO_RCVLOWAT (socket(7)), and a timer for what stays below that: nothing waits longer than `longest_wait`.
// Owned by a connection, used on its worker's thread.
#pragma once

#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace lull {

/// What of a stream is bulk: so much by reads none of which was short. Nearly every connection has nothing else of all this.
class bulk_watch {
  public:
    static constexpr std::size_t short_read = 4 * 1024;
    static constexpr std::size_t begins_at = 512 * 1024;

    /// Of each read. True: it has become bulk.
    bool note(std::size_t bytes) {
        streak_ = bytes < short_read ? 0 : streak_ + static_cast<std::uint32_t>(bytes);
        if (streak_ < begins_at) return false;
        streak_ = 0;
        return true;
    }

  private:
    std::uint32_t streak_ = 0;
};

class bulk_reading {
  public:
    static constexpr int low_water = 256 * 1024;
    static constexpr std::chrono::milliseconds longest_wait{1};

    /// `read`: reads what there is, and tells note_read(); it may destroy this.
    bulk_reading(boost::asio::io_context& io, int fd, std::function<void()> read)
        : fd_(fd), timer_(io), read_(std::move(read)), alive_(std::make_shared<bool>(true)) {}

    void begin();
    void note_read(std::size_t bytes) { bytes_ += bytes; }
    /// What comes next is waited for by somebody who has asked for it, and may be little.
    void end();
    bool on() const { return on_; }

  private:
    void look_later();
    void look();
    void wake_at(int bytes);

    int fd_;
    bool on_ = false;
    std::size_t bytes_ = 0;  // since the last look
    boost::asio::steady_timer timer_;
    std::function<void()> read_;
    std::shared_ptr<bool> alive_;
};

}  // namespace lull
