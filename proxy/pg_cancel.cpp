#include "proxy/pg_cancel.hpp"

#include "protocol/pg/startup.hpp"
#include "proxy/descriptors.hpp"
#include "proxy/edge_socket.hpp"
#include "proxy/log.hpp"
#include "proxy/outbox.hpp"
#include "proxy/pg_service.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cerrno>
#include <memory>
#include <optional>
#include <sys/socket.h>

namespace lull {

namespace {

constexpr std::chrono::seconds patience{5};

/// Owns itself until the request is over.
class request final : public socket_events, public std::enable_shared_from_this<request> {
  public:
    request(pg_service& service, cancel_target const& to, std::function<void(cancel_end)> done)
        : service_(service), to_(to), timer_(service.io()), done_(std::move(done)) {}

    void start(std::string packet) {
        packet_ = std::move(packet);
        self_ = shared_from_this();
        int const fd = server_socket(to_.address.storage.ss_family);
        if (fd < 0) return finish();
        auto const* const address = reinterpret_cast<sockaddr const*>(&to_.address.storage);
        bool const failed = ::connect(fd, address, to_.address.size) != 0 && errno != EINPROGRESS;
        socket_.emplace(service_.io(), fd, *this);
        if (failed) return finish();
        timer_.expires_after(patience);
        timer_.async_wait([self = shared_from_this()](auto) { self->finish(self->unanswered()); });
        socket_->wait_writable();
    }

    void on_writable() override {
        if (!socket_) return;
        switch (stage_) {
            case stage::connecting:
                return begin();
            case stage::asked:
            case stage::handshake:
            case stage::sent:
                break;
        }
        if (out_.flush(socket_->fd()) == outbox::result::later) socket_->wait_writable();
    }

    void on_readable() override {
        while (socket_) {
            std::span<std::byte> const block = service_.block();
            ssize_t const n = ::recv(socket_->fd(), block.data(), block.size(), MSG_DONTWAIT);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0 && errno == EAGAIN) return socket_->wait_readable();
            if (n <= 0) return finish(n == 0 ? cancel_end::over : unanswered());
            take(block.first(static_cast<std::size_t>(n)));
        }
    }

  private:
    enum class stage : std::uint8_t { connecting, asked, handshake, sent };

    void begin() {
        switch (to_.tls) {
            case server_tls_wish::none:
                send_packet();
                break;
            case server_tls_wish::direct:
                begin_tls();
                break;
            case server_tls_wish::prefer:
            case server_tls_wish::require: {
                stage_ = stage::asked;
                std::string question;
                pg::write_ssl_request(question);
                send(question);
                break;
            }
        }
        if (socket_) socket_->wait_readable();
    }

    void take(std::span<std::byte const> in) {
        switch (stage_) {
            case stage::connecting:
                break;
            case stage::asked:
                // One byte and no more: what came with it would pass for the encrypted server's (CVE-2021-23222).
                if (in.size() == 1 && static_cast<char>(in.front()) == 'S') return begin_tls();
                if (in.size() == 1 && static_cast<char>(in.front()) == 'N' && to_.tls == server_tls_wish::prefer)
                    return send_packet();
                return give_up("the server declined TLS");
            case stage::handshake:
                return shake_hands(in);
            case stage::sent:
                break;  // nothing is to be told: the end of the connection is the answer
        }
    }

    void begin_tls() {
        tls_ = service_.tls_to(to_.server);
        if (!tls_) return give_up("no TLS for this cluster");
        stage_ = stage::handshake;
        std::string first;
        tls_->start(first);
        send(first);
    }

    void shake_hands(std::span<std::byte const> in) {
        std::string answer;
        tls_->open(in, service_.plain(), answer);
        if (!answer.empty()) send(answer);
        if (tls_->where() == tls_filter::state::failed) return give_up(tls_->error());
        if (tls_->where() == tls_filter::state::handshake) return;
        // As for sessions: without it the server may be something else that speaks TLS.
        if (to_.tls == server_tls_wish::direct && !tls_->spoke_alpn()) return give_up("the server did not negotiate ALPN");
        send_packet();
    }

    void send_packet() {
        stage_ = stage::sent;
        if (!tls_) return send(packet_);
        std::string sealed;
        iovec const plain{packet_.data(), packet_.size()};
        if (!tls_->seal({&plain, 1}, sealed)) return give_up(tls_->error());
        send(sealed);
    }

    void send(std::string const& bytes) {
        gather out;
        out.text(bytes);
        // A failure is read as the end.
        if (out_.send(socket_->fd(), out) == outbox::result::later) socket_->wait_writable();
    }

    void give_up(std::string const& why) {
        auto const& where = service_.snapshot().of(to_.server).address;
        log::warning("could not cancel a statement at {}:{}: {}", where.host, where.port, why);
        finish();
    }

    cancel_end unanswered() const { return stage_ == stage::sent ? cancel_end::unknown : cancel_end::over; }

    void finish(cancel_end how = cancel_end::over) {
        if (!self_) return;
        socket_.reset();
        timer_.cancel();
        boost::asio::post(service_.io(), [self = std::move(self_), how] { self->done_(how); });
    }

    pg_service& service_;
    cancel_target const to_;
    boost::asio::steady_timer timer_;
    std::function<void(cancel_end)> done_;
    std::optional<edge_socket> socket_;
    std::unique_ptr<tls_filter> tls_;  // null: plain text
    stage stage_ = stage::connecting;
    std::string packet_;
    outbox out_;
    std::shared_ptr<request> self_;
};

}  // namespace

void send_cancel(pg_service& service, cancel_target const& to, std::int32_t pid, std::string const& secret,
                 std::function<void(cancel_end)> done) {
    std::string packet;
    pg::write_cancel_request(packet, pid, pg::as_bytes(secret));
    std::make_shared<request>(service, to, std::move(done))->start(std::move(packet));
}

}  // namespace lull
