// The addresses of this machine's interfaces, for rules of samehost and samenet. One a worker, on its thread.
#pragma once

#include "config/access.hpp"

#include <chrono>
#include <optional>
#include <span>
#include <vector>

struct sockaddr;

namespace lull {

/// An interface's address and its network's mask, as PostgreSQL takes them: a mask that is missing, of another family or
/// without a bit is that of the address alone, or such an interface would let everybody in. Nothing: it is not of IP. Pure.
[[nodiscard]] std::optional<config::ip_network> interface_network(sockaddr const* address, sockaddr const* mask);

class own_addresses {
  public:
    using instant = std::chrono::steady_clock::time_point;
    static constexpr std::chrono::seconds good_for{1};

    /// As they were a second ago at most: interfaces come and go. Lives until the next call.
    std::span<config::ip_network const> at(instant now);

  private:
    std::vector<config::ip_network> known_;
    std::optional<instant> asked_;
};

}  // namespace lull
