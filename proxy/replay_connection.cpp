#include "proxy/replay_connection.hpp"

#include "config/endpoint.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frame.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/startup.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <span>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace lull {

namespace {

constexpr std::size_t longest_answer = 16 * 1024 * 1024;
constexpr int look_at_stop_ms = 100;
constexpr std::chrono::milliseconds cancelling{1000};

/// False: not in time, or `stop`.
bool wait_for(int fd, short what, replay_connection::instant until, std::atomic<bool> const& stop) {
    while (!stop) {
        auto const left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now())
                .count();
        if (left <= 0) return false;
        pollfd p{fd, what, 0};
        int const ready = ::poll(&p, 1, static_cast<int>(std::min<long long>(left, look_at_stop_ms)));
        if (ready > 0) return true;
        if (ready < 0 && errno != EINTR) return false;
    }
    return false;
}

}  // namespace

replay_connection::~replay_connection() {
    close();
}

void replay_connection::close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    own_.reset();
    in_.clear();
    tls_.reset();
}

namespace {

struct address {
    sockaddr_storage storage{};
    socklen_t size = 0;
};

/// What getaddrinfo() finds, which may take the resolver's time-outs: on a thread of its own, that nobody waits for.
struct look_up {
    std::mutex mutex;
    std::condition_variable over;
    bool done = false;
    std::vector<address> found;
    std::string why;

    void run(std::string const& host, std::string const& port) {
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* list = nullptr;
        int const e = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list);
        std::lock_guard const lock(mutex);
        if (e != 0) why = ::gai_strerror(e);
        for (addrinfo const* i = e == 0 ? list : nullptr; i; i = i->ai_next) {
            address a;
            std::memcpy(&a.storage, i->ai_addr, i->ai_addrlen);
            a.size = i->ai_addrlen;
            found.push_back(a);
        }
        if (e == 0) ::freeaddrinfo(list);
        done = true;
        over.notify_all();
    }
};

/// Empty `out`: why not.
std::string find_addresses(config::endpoint const& where, replay_connection::instant until,
                           std::atomic<bool> const& stop, std::vector<address>& out) {
    if (where.host.starts_with('/')) {
        address a;
        auto* const un = reinterpret_cast<sockaddr_un*>(&a.storage);
        un->sun_family = AF_UNIX;
        std::strncpy(un->sun_path, config::unix_socket_path(where.host, where.port).c_str(),
                     sizeof un->sun_path - 1);
        a.size = sizeof(sockaddr_un);
        out.push_back(a);
        return {};
    }
    auto const one = std::make_shared<look_up>();
    std::thread([one, host = where.host, port = std::to_string(where.port)] { one->run(host, port); }).detach();
    std::unique_lock lock(one->mutex);
    while (!one->done && !stop && std::chrono::steady_clock::now() < until)
        one->over.wait_for(lock, std::chrono::milliseconds(look_at_stop_ms));
    if (!one->done) return "the look-up of \"" + where.host + "\" takes too long";
    out = one->found;
    if (!one->why.empty()) return one->why;
    return out.empty() ? "no address" : std::string();
}

replay_login failed_login(std::string message, std::string sqlstate = {}) {
    return {replay_login::result::failed, std::move(sqlstate), std::move(message)};
}

server_tls_wish wish_for(replay_server const& server) {
    using mode = config::server_tls_mode;
    // As libpq: what a Unix socket carries does not leave the machine.
    if (server.tls_settings.mode == mode::disable || server.where.host.starts_with('/'))
        return server_tls_wish::none;
    if (server.tls_settings.mode == mode::prefer) return server_tls_wish::prefer;
    return server.tls_settings.direct ? server_tls_wish::direct : server_tls_wish::require;
}

}  // namespace

replay_login replay_connection::connect(replay_server const& server, std::string const& user,
                                        std::string const& database, server_credentials const& credentials,
                                        instant until) {
    close();
    pid_ = 0;
    secret_.clear();
    server_ = server;
    std::vector<address> addresses;
    std::string why = find_addresses(server.where, until, stop_, addresses);
    for (address const& a : addresses) {
        int const fd = ::socket(a.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        int error = 0;
        socklen_t size = sizeof error;
        if (::connect(fd, reinterpret_cast<sockaddr const*>(&a.storage), a.size) != 0) error = errno;
        if (error == EINPROGRESS) {
            error = wait_for(fd, POLLOUT, until, stop_) ? 0 : ETIMEDOUT;
            if (error == 0) ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        }
        if (error == 0) {
            int const on = 1;
            ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
            if (a.storage.ss_family != AF_UNIX) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            fd_ = fd;
            peer_ = a.storage;
            peer_size_ = a.size;
            break;
        }
        why = std::strerror(error);
        ::close(fd);
    }
    if (fd_ < 0) return failed_login(why);
    replay_login const login = log_in(server, user, database, credentials, until);
    if (login.what != replay_login::result::in) close();
    return login;
}

replay_login replay_connection::log_in(replay_server const& server, std::string const& user,
                                       std::string const& database, server_credentials const& credentials,
                                       instant until) {
    using state = pg_server_login_core::state;
    std::string random(pg::nonce_bytes, '\0');
    if (::RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), static_cast<int>(random.size())) != 1)
        return failed_login("no random bytes");
    pg_server_login_core login(user, database, session_default::read_write, credentials, pg::make_nonce(pg::as_bytes(random)),
                               wish_for(server));
    pg_server_state reported;
    setting_interner settings;
    reported.actual = reported.reported = settings.none();
    std::string out;
    login.start(out);
    for (;;) {
        if (!out.empty() && !send(out, until)) return failed_login("the server closed the connection");
        out.clear();
        switch (login.where()) {
            case state::ready:
                pid_ = static_cast<std::uint32_t>(reported.pid);
                secret_ = reported.secret;
                own_.emplace(server.where, pid_);
                return {};
            case state::failed: {
                auto const fields =
                    pg::parse_error_fields(pg::as_bytes(login.error()).subspan(pg::header_bytes));
                if (!fields || !fields->message) return failed_login("the login failed");
                return failed_login(std::string(*fields->message), std::string(fields->sqlstate.value_or("")));
            }
            case state::tls:
                if (std::string why = shake_hands(server, until); !why.empty()) return failed_login(why);
                login.on_tls(tls_->spoke_alpn(), tls_->peer_end_point(), out);
                continue;
            case state::asking:
            case state::going:
                break;
        }
        std::size_t const used = login.on_server(pg::as_bytes(in_), reported, settings, out);
        in_.erase(0, used);
        bool const waits = login.where() == state::going || login.where() == state::asking;
        if (used == 0 && out.empty() && waits && !receive(until))
            return failed_login(tls_ && !tls_->error().empty()
                                    ? tls_->error()
                                    : "the server closed the connection during the login");
    }
}

std::string replay_connection::shake_hands(replay_server const& server, instant until) {
    if (!in_.empty()) return "the server sent more than an answer before TLS";  // an attack (CVE-2021-23222)
    if (!server.tls) return "no TLS for this cluster";
    tls_ = server.tls->connect(server.where.host);
    if (!tls_) return "no TLS for this cluster";
    std::string first;
    tls_->start(first);
    if (!send_raw(first, until)) return "the server closed the connection";
    while (tls_->where() == tls_filter::state::handshake)
        if (!receive(until)) break;
    if (tls_->where() == tls_filter::state::open) return {};
    return tls_->error().empty() ? "the server closed the connection during the TLS handshake"
                                 : tls_->error();
}

bool replay_connection::send(std::string_view bytes, instant until) {
    if (!tls_) return send_raw(bytes, until);
    std::string sealed;
    iovec const plain{const_cast<char*>(bytes.data()), bytes.size()};
    return tls_->seal({&plain, 1}, sealed) && send_raw(sealed, until);
}

bool replay_connection::send_raw(std::string_view bytes, instant until) {
    while (!bytes.empty()) {
        ssize_t const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n > 0)
            bytes.remove_prefix(static_cast<std::size_t>(n));
        else if (errno == EAGAIN && wait_for(fd_, POLLOUT, until, stop_))
            continue;
        else if (errno != EINTR)
            return false;
    }
    return true;
}

bool replay_connection::receive(instant until) {
    char block[16 * 1024];
    for (;;) {
        ssize_t const n = ::recv(fd_, block, sizeof block, 0);
        if (n > 0) {
            auto const got = static_cast<std::size_t>(n);
            if (!tls_) {
                in_.append(block, got);
            } else {
                std::string plain(most_plaintext(got), '\0');
                std::string answers;
                std::size_t const size =
                    tls_->open(pg::as_bytes({block, got}), std::as_writable_bytes(std::span(plain)), answers);
                in_.append(plain, 0, size);
                if (!send_raw(answers, until) || tls_->where() == tls_filter::state::failed) return false;
            }
            return in_.size() <= longest_answer;
        }
        if (n == 0) return false;
        if (errno == EINTR) continue;
        if (errno != EAGAIN || !wait_for(fd_, POLLIN, until, stop_)) return false;
    }
}

/// TLS without a login behind it. False: there is none, and nothing secret may be sent.
bool replay_connection::encrypt(replay_server const& server, instant until) {
    using state = pg_server_login_core::state;
    pg_server_login_core opening({}, {}, session_default::as_server, {}, {}, wish_for(server));
    pg_server_state reported;
    setting_interner settings;
    reported.actual = reported.reported = settings.none();
    std::string out;
    opening.start(out);
    while (opening.where() == state::asking) {
        if (!send_raw(out, until) || !receive(until)) return false;
        out.clear();
        in_.erase(0, opening.on_server(pg::as_bytes(in_), reported, settings, out));
    }
    return opening.where() == state::tls && shake_hands(server, until).empty();
}

/// Nobody waits for it any more: it would go on waiting for a lock, holding others, and see only behind that that its
/// client is gone.
void replay_connection::cancel() {
    if (pid_ == 0 || secret_.empty()) return;
    std::atomic<bool> const goes_on{false};  // also where all else is to stop
    replay_connection to(goes_on);
    instant const until = std::chrono::steady_clock::now() + cancelling;
    to.fd_ = ::socket(peer_.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (to.fd_ < 0) return;
    int const made = ::connect(to.fd_, reinterpret_cast<sockaddr const*>(&peer_), peer_size_);
    if (made != 0 && (errno != EINPROGRESS || !wait_for(to.fd_, POLLOUT, until, goes_on))) return;
    if (tls_ && !to.encrypt(server_, until)) return;
    std::string packet;
    pg::write_cancel_request(packet, static_cast<std::int32_t>(pid_), pg::as_bytes(secret_));
    // The server closes when it has passed it on.
    if (to.send(packet, until)) wait_for(to.fd_, POLLIN, until, goes_on);
}

/// Everything to the next ReadyForQuery.
replay_answer replay_connection::finish(instant until) {
    replay_answer out;
    for (;;) {
        pg::frame_result const next = pg::next_frame(pg::as_bytes(in_), longest_answer);
        auto const* frame = std::get_if<pg::frame>(&next);
        if (!frame) {
            if (std::holds_alternative<need_more>(next) && receive(until)) continue;
            cancel();
            close();
            out.lost = true;
            return out;
        }
        bool const over = frame->type == pg::backend::ready_for_query;
        if (frame->type == pg::backend::error_response && out.sqlstate.empty()) {
            auto const fields = pg::parse_error_fields(frame->body);
            out.sqlstate = fields ? std::string(fields->sqlstate.value_or("XX000")) : "XX000";
            out.message = fields ? std::string(fields->message.value_or("")) : "";
            if (fields && fields->detail) out.message += " (" + std::string(*fields->detail) + ")";
        } else if (frame->type == pg::backend::command_complete) {
            if (auto const tag = pg::parse_command_complete(frame->body)) out.tag = *tag;
        } else if (frame->type == pg::backend::data_row && !out.value && frame->body.size() >= 6) {
            auto const at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(frame->body[i]); };
            std::uint32_t const size = at(2) << 24 | at(3) << 16 | at(4) << 8 | at(5);
            if (size <= frame->body.size() - 6) out.value = pg::as_text(frame->body.subspan(6, size));
        }
        in_.erase(0, frame->whole.size());
        if (over) return out;
    }
}

replay_answer replay_connection::query(std::string_view sql, instant until) {
    std::string bytes;
    pg::write_query(bytes, sql);
    if (!open() || !send(bytes, until)) {
        close();
        return {.lost = true};
    }
    return finish(until);
}

replay_answer replay_connection::run(journal_entry const& e, instant until) {
    if (!e.extended) return query(e.text, until);
    std::string bytes;
    pg::write_parse(bytes, {}, e.text, pg::as_bytes(e.parameter_types));
    pg::write_bind_renamed(bytes, {}, {}, pg::as_bytes(e.bind_rest));
    pg::write_execute(bytes, {});
    pg::write_sync(bytes);
    if (!open() || !send(bytes, until)) {
        close();
        return {.lost = true};
    }
    return finish(until);
}

}  // namespace lull
