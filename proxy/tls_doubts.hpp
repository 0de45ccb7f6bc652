// What of TLS files works, but not for long, or not for what it is for. Control thread.
#pragma once

#include "proxy/tls_certificate.hpp"

#include <optional>
#include <string>

namespace lull {

struct tls_doubt {
    std::string what;  // with the file's name
    std::string fix;
};

/// It does not count yet, or no more, or soon no more.
std::optional<tls_doubt> doubt_period(std::string const& file, certificate_period const& period, std::chrono::sys_seconds now);
/// Others than its owner can read a private key. Root's may be read by a group, as PostgreSQL has it.
std::optional<tls_doubt> doubt_key_file(std::string const& file);

}  // namespace lull
