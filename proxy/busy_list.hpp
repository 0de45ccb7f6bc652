// Those that something may be due for, looked at in rounds; joining and leaving cost the same however many there
// are. A T has `std::uint32_t busy_slot`, which is ours, and not_busy at first. One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lull {

inline constexpr std::uint32_t not_busy = ~std::uint32_t{0};

template <class T>
class busy_list {
  public:
    bool empty() const { return all_.empty(); }
    std::size_t size() const { return all_.size(); }
    auto begin() const { return all_.begin(); }
    auto end() const { return all_.end(); }

    /// False: it is there already.
    bool add(T& one) {
        if (one.busy_slot != not_busy) return false;
        put(&one, all_.size());
        return true;
    }

    void remove(T& one) {
        if (one.busy_slot == not_busy) return;
        std::size_t hole = one.busy_slot;
        // Nobody comes to stand before the place that this round has reached without having been looked at.
        if (hole < next_) {
            put(all_[--next_], hole);
            hole = next_;
        }
        if (hole != all_.size() - 1) put(all_.back(), hole);
        all_.pop_back();
        one.busy_slot = not_busy;
    }

    /// The next of this round; null where it is over, and another begins.
    T* next() {
        if (next_ < all_.size()) return all_[next_++];
        next_ = 0;
        share_ = 0;
        return nullptr;
    }

    /// How many to look at now, so that `steps` of them make a round. Those that leave do not make it longer.
    std::size_t share(std::size_t steps) {
        share_ = std::max(share_, all_.size() / steps + 1);
        return share_;
    }

  private:
    void put(T* one, std::size_t slot) {
        if (slot == all_.size()) all_.push_back(one);
        all_[slot] = one;
        one->busy_slot = static_cast<std::uint32_t>(slot);
    }

    std::vector<T*> all_;
    std::size_t next_ = 0;
    std::size_t share_ = 0;  // of this round, as far as it was asked for
};

}  // namespace lull
