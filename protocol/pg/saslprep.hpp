// SASLprep (RFC 4013), as PostgreSQL and libpq apply it to a password before it is hashed for SCRAM: what looks or is meant alike
// (accents composed or not, full-width letters, soft hyphens) becomes the same bytes. Pure; from any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace lull::pg {

/// Combining marks are sorted, at a cost that grows with the square of their number: of two kilobytes of them less than what
/// hashing takes, of eight ten times as much, for anybody who is asked for a password.
inline constexpr std::size_t max_saslprep_bytes = 2 * 1024;

/// The prepared form; nothing where the bytes count as they are. That is so of ASCII, also of its control characters, and, as in
/// PostgreSQL and against the RFC, where preparing fails: what is not UTF-8, characters that are prohibited or that Unicode 3.2
/// does not have, mixed directions of writing, nothing left; and beyond max_saslprep_bytes, which PostgreSQL does not have.
[[nodiscard]] std::optional<std::string> saslprep(std::string_view password);

}  // namespace lull::pg
