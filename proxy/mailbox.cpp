#include "proxy/mailbox.hpp"

#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace lull {

namespace {

int make_event() {
    int const fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::system_category(), "eventfd");
    return fd;
}

}  // namespace

mailbox::mailbox(boost::asio::io_context& io) : event_(io, make_event(), *this) {
    event_.wait_readable();
}

void mailbox::post(letter what) {
    bool first;
    {
        std::lock_guard const lock(mutex_);
        first = letters_.empty();
        letters_.push_back(std::move(what));
    }
    if (first) {
        std::uint64_t const one = 1;
        [[maybe_unused]] ssize_t const n = ::write(event_.fd(), &one, sizeof one);
    }
}

void mailbox::on_readable() {
    std::uint64_t count;
    // Whatever is written from here on makes an edge again: one read takes all of it.
    [[maybe_unused]] ssize_t const n = ::read(event_.fd(), &count, sizeof count);
    event_.wait_readable();
    std::vector<letter> letters;
    {
        std::lock_guard const lock(mutex_);
        letters.swap(letters_);
    }
    for (letter& l : letters) l();
}

}  // namespace lull
