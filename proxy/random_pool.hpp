// Unpredictable bytes of OpenSSL's generator, asked for many at a time: each request costs it a look at whether the process
// has forked, which every login would pay twice. One thread's; nothing that was taken stays in it.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace lull {

class random_pool {
  public:
    random_pool() = default;
    random_pool(random_pool const&) = delete;
    random_pool& operator=(random_pool const&) = delete;
    ~random_pool();

    /// Throws std::runtime_error where the system has none.
    void fill(std::span<std::byte> out);

  private:
    std::array<std::byte, 2048> bytes_;
    std::size_t left_ = 0;  // at the end of bytes_
};

}  // namespace lull
