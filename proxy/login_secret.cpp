#include "proxy/login_secret.hpp"

#include "proxy/log.hpp"
#include "proxy/random_pool.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <unistd.h>

namespace lull {
namespace {

std::optional<login_secret> read_secret(std::string const& path) {
    int const fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return std::nullopt;
    login_secret secret{};
    ssize_t const n = ::read(fd, secret.data(), secret.size());
    ::close(fd);
    if (n == static_cast<ssize_t>(secret.size())) return secret;
    errno = EBADMSG;
    return std::nullopt;
}

bool write_secret(std::string const& path, login_secret const& secret) {
    std::string const made = path + ".new";
    int const fd = ::open(made.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return false;
    bool const written = ::write(fd, secret.data(), secret.size()) == static_cast<ssize_t>(secret.size()) && ::fsync(fd) == 0;
    ::close(fd);
    return written && ::rename(made.c_str(), path.c_str()) == 0;
}

}  // namespace

login_secret load_login_secret(std::string const& state_dir) {
    std::string const path = state_dir + "/login_secret";
    if (auto const known = read_secret(path)) return *known;
    int const why = errno;
    login_secret secret{};
    random_pool().fill(secret);
    if ((why == ENOENT || why == EBADMSG) && write_secret(path, secret)) return secret;
    log::warning("{}: {}; until it can be read, the salts that clients see change with each start of lull", path,
                 std::strerror(why == ENOENT || why == EBADMSG ? errno : why));
    return secret;
}

}  // namespace lull
