// How much is held for a site, over all workers. Any thread.
#pragma once

#include "config/model.hpp"

#include <atomic>
#include <cstddef>

namespace lull {

class hold_ledger {
  public:
    /// False, and nothing changed, where a limit would be passed.
    bool add(std::size_t site, std::size_t bytes, config::hold_limits const& limits) {
        account& a = of(site);
        if (a.count.fetch_add(1) >= limits.max_count) {
            a.count.fetch_sub(1);
            return false;
        }
        if (a.bytes.fetch_add(bytes) + bytes > limits.max_bytes) {
            remove(site, bytes);
            return false;
        }
        return true;
    }
    void remove(std::size_t site, std::size_t bytes) {
        of(site).count.fetch_sub(1);
        of(site).bytes.fetch_sub(bytes);
    }

  private:
    static constexpr std::size_t most_sites = 1024;
    struct account {
        std::atomic<std::size_t> count{0};
        std::atomic<std::size_t> bytes{0};
    };
    account& of(std::size_t site) { return accounts_[site % most_sites]; }
    account accounts_[most_sites];
};

}  // namespace lull
