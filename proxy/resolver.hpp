// Names to addresses, for a worker: numeric ones at once, others on a thread of its own, remembered for a
// while.
#pragma once

#include "config/model.hpp"
#include "proxy/mailbox.hpp"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
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

    explicit host_resolver(mailbox& mail) : mail_(mail), alive_(std::make_shared<bool>(true)) {}
    ~host_resolver() { *alive_ = false; }

    /// `then` runs on the worker's thread, possibly before this returns.
    void resolve(config::endpoint const& where, done then);

  private:
    struct known {
        std::vector<socket_address> addresses;
        std::chrono::steady_clock::time_point until;
    };
    mailbox& mail_;
    std::shared_ptr<bool> alive_;  // read and written on the worker's thread only
    std::map<std::string, known> cache_;
};

}  // namespace lull
