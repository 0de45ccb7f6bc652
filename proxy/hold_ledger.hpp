// How much is held for a site, over all workers, and the pace at which it goes on when the site is open. Any thread.
#pragma once

#include "config/model.hpp"
#include "routing/snapshot.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

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
            a.count.fetch_sub(1);
            a.bytes.fetch_sub(bytes);
            return false;
        }
        all_.fetch_add(1);
        return true;
    }
    bool any() const { return all_.load(std::memory_order_relaxed) > 0; }
    void remove(std::size_t site, std::size_t bytes) {
        all_.fetch_sub(1);
        of(site).count.fetch_sub(1);
        of(site).bytes.fetch_sub(bytes);
    }

    /// Whether one more may go on now. A tenth of a second's worth may go at once.
    bool may_release(std::size_t site, routing::instant now, std::size_t per_second) {
        using std::chrono::nanoseconds;
        std::int64_t const each = 1'000'000'000 / static_cast<std::int64_t>(per_second);
        std::int64_t const at = std::chrono::duration_cast<nanoseconds>(now.time_since_epoch()).count();
        std::atomic<std::int64_t>& next = of(site).next_release;  // when the bucket is full again
        std::int64_t due = next.load();
        for (;;) {
            std::int64_t const from = std::max(due, at - burst);
            if (from > at) return false;
            if (next.compare_exchange_weak(due, from + each)) return true;
        }
    }

  private:
    static constexpr std::int64_t burst = 100'000'000;  // ns
    static constexpr std::size_t most_sites = 1024;
    std::atomic<std::size_t> all_{0};
    struct account {
        std::atomic<std::size_t> count{0};
        std::atomic<std::size_t> bytes{0};
        std::atomic<std::int64_t> next_release{0};
    };
    account& of(std::size_t site) { return accounts_[site % most_sites]; }
    account accounts_[most_sites];
};

}  // namespace lull
