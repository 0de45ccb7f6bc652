// The secret that salts are made of: of users whose password is plain text, and of users that do not exist. It outlives
// the process, for a salt that changes with it tells who does not exist.
#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace lull {

using login_secret = std::array<std::byte, 32>;

/// STATE_DIR/login_secret, made where it is missing (0600). Where it can be neither read nor made a warning is logged, and
/// the secret holds for this process only.
login_secret load_login_secret(std::string const& state_dir);

}  // namespace lull
