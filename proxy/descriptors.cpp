#include "proxy/descriptors.hpp"

#include "proxy/log.hpp"
#include "proxy/warning_pace.hpp"

#include <atomic>
#include <cerrno>
#include <limits>
#include <string_view>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lull {

namespace {

using clock = std::chrono::steady_clock;

std::atomic<std::size_t> limit{0};  // as it was when it was last looked at
std::atomic<clock::rep> last_without{0};

std::string_view name_of(descriptor_use use) {
    switch (use) {
        case descriptor_use::client:
        case descriptor_use::refusal:
            return "clients are turned away";
        case descriptor_use::server:
            return "connections to servers are not made";
        case descriptor_use::metrics:
            return "requests for metrics are turned away";
        case descriptor_use::admin:
            return "commands are turned away";
    }
    return "";
}

void tell(descriptor_use use) {
    clock::time_point const now = clock::now();
    last_without.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    static warning_pace pace;
    if (!pace.due("", now)) return;
    std::size_t const most = limit;
    log::error("out of file descriptors: {}. Of the {} that lull may open {} are for clients, what lies above is for servers, metrics "
               "and commands; raise the limit (LimitNOFILE= of its unit, ulimit -n; of this process: prlimit --pid {} --nofile=...)",
               name_of(use), most, descriptors_below(descriptor_use::client, most), ::getpid());
}

}  // namespace

void raise_descriptor_limit() {
    rlimit now{};
    if (::getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur >= now.rlim_max) return;
    now.rlim_cur = now.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &now);
}

std::size_t descriptor_limit() {
    rlimit now{};
    bool const known = ::getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur < rlim_t(std::numeric_limits<int>::max());
    limit = known ? static_cast<std::size_t>(now.rlim_cur) : static_cast<std::size_t>(std::numeric_limits<int>::max());
    return limit;
}

bool would_have_room(descriptor_use use, int fd) {
    auto const number = static_cast<std::size_t>(fd);
    return number < descriptors_below(use, limit.load(std::memory_order_relaxed)) || number < descriptors_below(use, descriptor_limit());
}

bool has_room(descriptor_use use, int fd) {
    if (would_have_room(use, fd)) return true;
    tell(use);
    return false;
}

int server_socket(int family) {
    int const fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || has_room(descriptor_use::server, fd)) return fd;
    ::close(fd);
    errno = EMFILE;
    return -1;
}

std::optional<std::chrono::seconds> since_no_room() {
    clock::rep const last = last_without.load(std::memory_order_relaxed);
    if (last == 0) return std::nullopt;
    return std::chrono::duration_cast<std::chrono::seconds>(clock::now().time_since_epoch() - clock::duration(last));
}

}  // namespace lull
