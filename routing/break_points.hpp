// Places where a promise can be broken on purpose, so that the tests can show that they would notice.
// Compiled out: only programs of the tests are built with LULL_BREAK (see tests/broken.cmake), and in those
// nothing is broken but what the environment variable LULL_BREAK names, a comma between two.
#pragma once

#include <string_view>

#ifdef LULL_BREAK

#include <cstdlib>
#include <map>
#include <string>

namespace lull {

/// Which are broken. Tests in one process set it; no thread but theirs may run then.
inline std::string& broken_points() {
    static std::string names = [] {
        char const* chosen = std::getenv("LULL_BREAK");
        return "," + std::string(chosen ? chosen : "") + ",";
    }();
    return names;
}
inline bool broken(std::string_view point) {
    return broken_points().find("," + std::string(point) + ",") != std::string::npos;
}
/// The same for one in `n` of the calls.
inline bool broken(std::string_view point, unsigned n) {
    static thread_local std::map<std::string, unsigned, std::less<>> calls;
    return broken(point) && ++calls[std::string(point)] % n == 0;
}

}  // namespace lull

#else

namespace lull {

constexpr bool broken(std::string_view, unsigned = 1) {
    return false;
}

}  // namespace lull

#endif
