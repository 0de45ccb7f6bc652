// Names to addresses, for a worker: numeric ones at once, others on a thread of its own, remembered for a
// while and followed when they change.
#pragma once

#include "config/model.hpp"
#include "proxy/address_book_core.hpp"
#include "proxy/mailbox.hpp"

#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <sys/socket.h>
#include <vector>

namespace lull {

struct socket_address {
    sockaddr_storage storage{};
    socklen_t size = 0;
    friend bool operator==(socket_address const& a, socket_address const& b) {
        return a.size == b.size && std::memcmp(&a.storage, &b.storage, a.size) == 0;
    }
};

class host_resolver {
  public:
    /// Nothing resolved: `addresses` is empty and `error` says why.
    using done = std::function<void(std::vector<socket_address> addresses, std::string error)>;

    explicit host_resolver(mailbox& mail) : way_back_(std::make_shared<way_back>(&mail)) {}
    ~host_resolver() {
        std::lock_guard const lock(way_back_->mutex);
        way_back_->mail = nullptr;
    }

    /// `then` runs on the worker's thread, possibly before this returns.
    void resolve(config::endpoint const& where, done then);
    /// Looks again where what is known is old.
    void refresh(config::endpoint const& where) {
        resolve(where, [](auto, auto) {});
    }
    /// How long what was found is used without looking again.
    void set_max_ttl(std::chrono::milliseconds max_ttl) { max_ttl_ = max_ttl; }
    /// False: the name has addresses, and this is none of them.
    bool may_be(config::endpoint const& where, socket_address const& address) const;
    /// A look-up that resolve() or refresh() began has ended, and an address of before is none any more.
    std::function<void(config::endpoint const& where)> on_moved;

  private:
    void look_up_later(config::endpoint const& where);
    void finish(config::endpoint const& where, std::vector<socket_address> addresses, std::string error);
    /// Look-ups may outlast the resolver and its mailbox.
    struct way_back {
        explicit way_back(mailbox* m) : mail(m) {}
        std::mutex mutex;
        mailbox* mail;
    };
    std::shared_ptr<way_back> way_back_;
    std::map<std::string, std::vector<socket_address>> numeric_;  // what needs no looking up
    address_book<socket_address> names_;
    std::chrono::milliseconds max_ttl_{15'000};
};

}  // namespace lull
