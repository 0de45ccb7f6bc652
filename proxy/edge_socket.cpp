#include "proxy/edge_socket.hpp"

#include <boost/asio/detail/concurrency_hint.hpp>
#include <boost/asio/detail/scheduler.hpp>

#include <cassert>
#include <memory>
#include <unistd.h>
#include <utility>

namespace lull {

#ifndef LULL_PUBLIC_ASIO_ONLY

namespace asio_detail = boost::asio::detail;

// An operation stays in the reactor from its first wait to the end of its socket, and what it waits for is told from within
// perform(): it never completes, so that a wake-up costs neither a start_op() nor a turn of the scheduler. The reactor calls
// perform() with its lock of the descriptor held; there is none in an io_context that is UNSAFE. What is told may destroy the
// socket: the operation is done then, and closes it as it completes, which the reactor has it do at once. (Closed from within,
// it would be cancelled instead, for which the scheduler polls the reactor once more.)
struct edge_socket::state {
    struct operation : asio_detail::reactor_op {
        operation(state& owner, bool read)
            : reactor_op(boost::system::error_code(), &operation::perform, &operation::complete),
              owner(owner),
              read(read) {}

        static status perform(asio_detail::reactor_op* base) {
            auto* self = static_cast<operation*>(base);
            state& owner = self->owner;
            if (!owner.alive) return done;
            if (!std::exchange(self->wanted, false)) return not_done;  // as the contract of an edge says
            owner.performing = true;
            if (self->read)
                owner.events->on_readable();
            else
                owner.events->on_writable();
            owner.performing = false;
            return owner.alive ? not_done : done;
        }
        /// The socket, or the io_context, is being destroyed; or the wait could not begin (epoll_ctl() failed). Whoever waits
        /// then tries, and sees what his socket says.
        static void complete(void* scheduler, asio_detail::operation* base, boost::system::error_code const&, std::size_t) {
            auto* self = static_cast<operation*>(base);
            self->queued = false;
            if (scheduler && self->owner.alive) perform(self);
            if (!self->owner.alive) self->owner.close();
        }

        state& owner;
        bool const read;
        bool queued = false;
        bool wanted = false;
    };

    state(boost::asio::io_context& io, int fd, socket_events& events)
        : reactor(boost::asio::use_service<asio_detail::reactor>(io)),
          fd(fd),
          events(&events),
          reader(*this, true) {
        assert(!BOOST_ASIO_CONCURRENCY_HINT_IS_LOCKING(
            REACTOR_IO, boost::asio::use_service<asio_detail::scheduler>(io).concurrency_hint()));
        reactor.init_task();
        reactor.register_descriptor(fd, data);
    }

    void wait(operation& op, int kind) {
        if (!op.queued) {
            op.queued = true;
            reactor.start_op(kind, fd, data, &op, true, true);  // asks perform(), where nothing is wanted yet
        }
        op.wanted = true;
    }

    // Freed when the reactor holds no operation of ours any more.
    void close() {
        if (!std::exchange(closed, true)) {
            reactor.deregister_descriptor(fd, data, true);
            ::close(fd);
            reactor.cleanup_descriptor_data(data);
        }
        if (!reader.queued && !(writer && writer->queued)) delete this;
    }

    asio_detail::reactor& reactor;
    int fd;
    socket_events* events;
    asio_detail::reactor::per_descriptor_data data{};
    operation reader;
    std::unique_ptr<operation> writer;  // few sockets ever wait for that
    bool alive = true;
    bool performing = false;
    bool closed = false;
};

edge_socket::edge_socket(boost::asio::io_context& io, int fd, socket_events& events)
    : state_(new state(io, fd, events)) {}

edge_socket::~edge_socket() {
    state_->alive = false;
    if (!state_->performing) state_->close();
}

int edge_socket::fd() const {
    return state_->fd;
}
void edge_socket::wait_readable() {
    state_->wait(state_->reader, asio_detail::reactor::read_op);
}
void edge_socket::wait_writable() {
    if (!state_->writer) state_->writer = std::make_unique<edge_socket::state::operation>(*state_, false);
    state_->wait(*state_->writer, asio_detail::reactor::write_op);
}

#else

struct edge_socket::state {
    using descriptor = boost::asio::posix::stream_descriptor;

    state(boost::asio::io_context& io, int fd, socket_events& events) : socket(io, fd), events(&events) {}

    void start(bool read) {
        bool& queued = read ? reading : writing;
        if (queued) return;
        queued = true;
        socket.async_wait(read ? descriptor::wait_read : descriptor::wait_write,
                          [this, read](boost::system::error_code const&) {
                              (read ? reading : writing) = false;
                              if (!alive)
                                  release();
                              else if (read)
                                  events->on_readable();
                              else
                                  events->on_writable();
                          });
    }
    void release() {
        if (!alive && !reading && !writing) delete this;
    }

    descriptor socket;
    socket_events* events;
    bool alive = true;
    bool reading = false;
    bool writing = false;
};

edge_socket::edge_socket(boost::asio::io_context& io, int fd, socket_events& events)
    : state_(new state(io, fd, events)) {}

edge_socket::~edge_socket() {
    state_->alive = false;
    boost::system::error_code ignored;
    state_->socket.close(ignored);
    state_->release();
}

int edge_socket::fd() const {
    return state_->socket.native_handle();
}
void edge_socket::wait_readable() {
    state_->start(true);
}
void edge_socket::wait_writable() {
    state_->start(false);
}

#endif

}  // namespace lull
