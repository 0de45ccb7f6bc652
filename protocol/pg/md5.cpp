#include "protocol/pg/md5.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

namespace lull::pg {
namespace {

constexpr std::string_view prefix = "md5";
constexpr std::size_t hash_chars = 3 + 32;

std::optional<std::string> digest_of(std::string const& text) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(text.data(), text.size(), digest, &size, EVP_md5(), nullptr) != 1) return std::nullopt;
    constexpr char hex[] = "0123456789abcdef";
    std::string out(prefix);
    for (unsigned i = 0; i < size; ++i) {
        out += hex[digest[i] >> 4];
        out += hex[digest[i] & 15];
    }
    return out;
}

}  // namespace

bool is_md5_hash(std::string_view secret) noexcept {
    return secret.size() == hash_chars && secret.starts_with(prefix) &&
           std::all_of(secret.begin() + prefix.size(), secret.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::optional<std::string> md5_hash(std::string_view password, std::string_view user) {
    return digest_of(std::string(password).append(user));
}

std::optional<std::string> md5_answer(std::string_view hash, bytes salt) {
    return digest_of(std::string(hash.substr(prefix.size())).append(as_text(salt)));
}

bool equal_secrets(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace lull::pg
