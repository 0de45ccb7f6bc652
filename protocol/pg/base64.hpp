// Base64 as SCRAM uses it (RFC 4648 section 4): standard alphabet, padded, no line breaks. Pure functions.
#pragma once

#include "protocol/pg/bytes.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lull::pg {

[[nodiscard]] std::string base64_encode(bytes data);

/// Nothing, unless the text is exactly what base64_encode would write: white space, missing padding and
/// non-zero bits behind the last byte are refused, so that no value has two spellings.
[[nodiscard]] std::optional<std::vector<std::byte>> base64_decode(std::string_view text);

}  // namespace lull::pg
