// Bytes for the tests of the PostgreSQL protocol.
#pragma once

#include "protocol/pg/bytes.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace lull::pg {

/// A literal with NULs inside, without the one that ends it.
template <std::size_t N>
std::string_view wire(char const (&text)[N]) {
    return {text, N - 1};
}

/// A copy that ends where its memory ends, so that the address sanitizer sees a byte read too far.
class exact {
  public:
    explicit exact(std::string_view text) : size_(text.size()), data_(new std::byte[text.size()]) {
        for (std::size_t i = 0; i < size_; ++i) data_[i] = static_cast<std::byte>(text[i]);
    }
    bytes view() const { return {data_.get(), size_}; }

  private:
    std::size_t size_;
    std::unique_ptr<std::byte[]> data_;
};

/// Calls `check` with every proper prefix of `text`, each in memory of its own size.
template <class Check>
void for_each_truncation(std::string_view text, Check check) {
    for (std::size_t size = 0; size < text.size(); ++size) check(exact(text.substr(0, size)).view());
}

/// `parser` takes `body` and refuses each of its truncations, and a byte too many.
template <class Parser>
bool takes_exactly(std::string_view body, Parser parser) {
    bool right = parser(exact(body).view()).has_value();
    for_each_truncation(body, [&](bytes cut) { right = right && !parser(cut).has_value(); });
    return right && !parser(exact(std::string(body) + 'x').view()).has_value();
}

/// The body of the one message that a writer made.
inline bytes body_of(std::string const& message) {
    return as_bytes(message).subspan(5);
}

}  // namespace lull::pg
