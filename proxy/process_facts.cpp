#include "proxy/process_facts.hpp"

#include "proxy/version.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sys/resource.h>
#include <unistd.h>

namespace lull {

namespace {

double started() {
    static double const at =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    return at;
}
// Before main(): the first question would be too late.
[[maybe_unused]] double const noted = started();

double seconds(timeval const& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
}

}  // namespace

process_facts read_process_facts() {
    process_facts p;
    p.version = version;
    p.started = started();
    std::uint64_t pages = 0;
    if (std::ifstream memory("/proc/self/statm"); memory >> pages >> pages)
        p.resident_bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    rusage used{};
    if (::getrusage(RUSAGE_SELF, &used) == 0) p.cpu_seconds = seconds(used.ru_utime) + seconds(used.ru_stime);
    std::error_code error;
    for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
         at.increment(error))
        ++p.open_files;
    rlimit most{};
    if (::getrlimit(RLIMIT_NOFILE, &most) == 0) p.most_files = most.rlim_cur;
    return p;
}

}  // namespace lull
