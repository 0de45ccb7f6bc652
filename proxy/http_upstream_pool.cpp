#include "proxy/http_upstream_pool.hpp"

#include "proxy/descriptors.hpp"
#include "proxy/http_socket.hpp"
#include "proxy/server_dial.hpp"

#include <algorithm>
#include <cerrno>
#include <sys/socket.h>

namespace lull {
namespace {

/// How long an upstream that refused a connection is tried after the others.
constexpr std::chrono::seconds down_time{2};

/// Nothing to read and not ended: the connection can be used again.
bool is_quiet(int fd) {
    char byte;
    return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

}  // namespace

http_upstream::http_upstream(http_upstream_pool& pool, std::vector<config::endpoint> candidates)
    : pool_(pool), candidates_(std::move(candidates)) {}

http_upstream::~http_upstream() {
    *alive_ = false;
}

void http_upstream::give_up() {
    if (!open_ && !candidates_.empty()) pool_.mark_down(candidates_.back());
}

void http_upstream::open(http_upstream_owner& owner) {
    owner_ = &owner;
    next_candidate();
}

void http_upstream::next_candidate() {
    if (candidates_.empty()) return owner_->upstream_not_opened();
    pool_.names_.resolve(candidates_.back(),
                         [this, alive = alive_](std::vector<socket_address> found, std::string const&) {
                             if (!*alive) return;
                             addresses_ = std::move(found);
                             std::reverse(addresses_.begin(), addresses_.end());
                             next_address();
                         });
}

void http_upstream::next_address() {
    while (!addresses_.empty()) {
        socket_address const address = addresses_.back();
        addresses_.pop_back();
        auto const* const name = reinterpret_cast<sockaddr const*>(&address.storage);
        int const fd = server_socket(name->sa_family);
        if (fd < 0 && errno == EMFILE) {  // which says nothing about the upstream
            candidates_.clear();
            return owner_->upstream_not_opened();
        }
        if (fd < 0) continue;
        prepare_http_socket(fd);
        // Connect first: an unconnected socket is reported as hung up as soon as epoll knows it.
        if (::connect(fd, name, address.size) < 0 && errno != EINPROGRESS) {
            ::close(fd);
            continue;
        }
        socket_ = std::make_unique<edge_socket>(pool_.io_, fd, *this);
        socket_->wait_writable();
        return;
    }
    pool_.mark_down(candidates_.back());
    candidates_.pop_back();
    next_candidate();
}

void http_upstream::on_readable() {
    if (owner_) return owner_->upstream_readable();
    pool_.forget(*this);  // an idle one has ended, or speaks without being asked
}

void http_upstream::on_writable() {
    if (open_) {
        if (owner_) owner_->upstream_writable();
        return;
    }
    int const error = connect_error(socket_->fd());
    if (error == EINPROGRESS) return socket_->wait_writable();
    if (error != 0) {
        socket_.reset();
        return next_address();
    }
    open_ = true;
    candidates_.erase(candidates_.begin(), candidates_.end() - 1);
    addresses_.clear();
    owner_->upstream_opened();
}

std::unique_ptr<http_upstream> http_upstream_pool::take(config::site const& site, reuse how,
                                                        http_upstream_owner& owner) {
    std::vector<config::endpoint> order = site.upstreams;
    if (order.size() > 1) {
        // Each in turn; one that does not accept connections only when the others do not either.
        std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(turn_++ % order.size()),
                    order.end());
        std::stable_partition(order.begin(), order.end(), [&](config::endpoint const& e) {
            auto const down = down_until_.find(key_of(e));
            return down != down_until_.end() && down->second > now_;
        });
    }
    if (how != reuse::no && !order.empty()) {
        auto const found = idle_.find(key_of(order.back()));
        while (found != idle_.end() && !found->second.empty()) {
            std::unique_ptr<http_upstream> taken = std::move(found->second.back());
            found->second.pop_back();
            if (how == reuse::checked && !is_quiet(taken->fd())) continue;
            taken->owner_ = &owner;
            return taken;
        }
    }
    return std::make_unique<http_upstream>(*this, std::move(order));
}

void http_upstream_pool::give_back(std::unique_ptr<http_upstream> connection, last_receive last) {
    std::vector<std::unique_ptr<http_upstream>>& idle = idle_[key_of(connection->candidates_.back())];
    if (idle.size() >= max_idle_) return;
    if (last == last_receive::full && !is_quiet(connection->fd())) return;
    connection->owner_ = nullptr;
    connection->end_unseen_ = last == last_receive::partial;
    connection->idle_since_ = now_;
    connection->wait_readable();
    idle.push_back(std::move(connection));
}

void http_upstream_pool::tick(routing::instant now) {
    for (auto& [where, idle] : idle_) {
        std::erase_if(idle, [&](std::unique_ptr<http_upstream> const& u) {
            if (now - u->idle_since_ >= idle_timeout_) return true;
            if (!u->end_unseen_) return false;
            u->end_unseen_ = false;
            return !is_quiet(u->fd());
        });
    }
    std::erase_if(idle_, [](auto const& entry) { return entry.second.empty(); });
    std::erase_if(down_until_, [&](auto const& entry) { return entry.second <= now; });
    now_ = now;
}

std::size_t http_upstream_pool::idle() const {
    std::size_t all = 0;
    for (auto const& [where, idle] : idle_) all += idle.size();
    return all;
}

void http_upstream_pool::forget(http_upstream& gone) {
    auto const found = idle_.find(key_of(gone.candidates_.back()));
    if (found == idle_.end()) return;
    std::erase_if(found->second, [&](std::unique_ptr<http_upstream> const& u) { return u.get() == &gone; });
}

void http_upstream_pool::mark_down(config::endpoint const& e) {
    down_until_[key_of(e)] = now_ + down_time;
}

}  // namespace lull
