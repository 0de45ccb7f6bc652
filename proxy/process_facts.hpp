// What the kernel says of this process (proc(5)). Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace lull {

struct process_facts {
    std::string version;
    std::uint64_t resident_bytes = 0;
    double cpu_seconds = 0;
    std::uint64_t open_files = 0;
    std::uint64_t most_files = 0;
    double started = 0;  // seconds since the epoch
};

/// What cannot be read stays 0.
process_facts read_process_facts();

}  // namespace lull
