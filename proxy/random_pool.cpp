#include "proxy/random_pool.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <stdexcept>

namespace lull {
namespace {

void make(std::span<std::byte> out) {
    if (::RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())) != 1)
        throw std::runtime_error("no random bytes");
}

}  // namespace

random_pool::~random_pool() { ::OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

void random_pool::fill(std::span<std::byte> out) {
    if (out.size() > bytes_.size()) return make(out);
    if (out.size() > left_) {
        left_ = 0;
        make(bytes_);
        left_ = bytes_.size();
    }
    auto const from = bytes_.end() - static_cast<std::ptrdiff_t>(left_);
    std::copy_n(from, out.size(), out.begin());
    ::OPENSSL_cleanse(std::to_address(from), out.size());
    left_ -= out.size();
}

}  // namespace lull
