#include "proxy/bulk_reading.hpp"

#include <sys/socket.h>

namespace lull {

void bulk_reading::begin() {
    if (on_) return;
    on_ = true;
    bytes_ = 0;
    wake_at(low_water);
    look_later();
}

void bulk_reading::end() {
    if (!on_) return;
    on_ = false;
    timer_.cancel();
    wake_at(1);  // where there is something already, this makes an edge
}

void bulk_reading::wake_at(int bytes) {
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

void bulk_reading::look_later() {
    timer_.expires_after(longest_wait);
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](boost::system::error_code const& error) {
        if (!error && alive.lock() && on_) look();
    });
}

void bulk_reading::look() {
    std::weak_ptr<bool> const alive = alive_;
    auto const read = read_;  // outlives this where that does not
    read();
    if (alive.expired() || !on_) return;
    bool const goes_on = std::exchange(bytes_, 0) >= bulk_watch::short_read;
    if (goes_on) return look_later();
    end();
    read();  // what came between the two
}

}  // namespace lull
