// Names to addresses, for a worker: numeric ones at once, others on a thread of its own, remembered for a
// while.
#pragma once

#include "config/model.hpp"
#include "proxy/mailbox.hpp"

#include <chrono>
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

  private:
    struct known {
        std::vector<socket_address> addresses;
        std::chrono::steady_clock::time_point until;
    };
    /// Look-ups may outlast the resolver and its mailbox.
    struct way_back {
        explicit way_back(mailbox* m) : mail(m) {}
        std::mutex mutex;
        mailbox* mail;
    };
    std::shared_ptr<way_back> way_back_;
    std::map<std::string, known> cache_;
};

}  // namespace lull
