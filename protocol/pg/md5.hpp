// PostgreSQL's md5 passwords (manual, "Password Authentication"): what is stored, and what is sent. Weak,
// kept for clients and servers that can do nothing better. Pure, any thread.
#pragma once

#include "protocol/pg/bytes.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace lull::pg {

inline constexpr std::size_t md5_salt_bytes = 4;

/// Whether it looks like one: "md5" and 32 hexadecimal digits, lower case.
[[nodiscard]] bool is_md5_hash(std::string_view secret) noexcept;

/// What pg_authid has: "md5" + md5(password + user). Nothing: this OpenSSL refuses MD5 (FIPS).
[[nodiscard]] std::optional<std::string> md5_hash(std::string_view password, std::string_view user);

/// What answers AuthenticationMD5Password: "md5" + md5(hash without "md5" + salt).
[[nodiscard]] std::optional<std::string> md5_answer(std::string_view hash, bytes salt);

/// In constant time, for texts of equal length; the length may show.
[[nodiscard]] bool equal_secrets(std::string_view a, std::string_view b) noexcept;

}  // namespace lull::pg
