// How numbers and flags stand in the console's tables. Pure; any thread.
#pragma once

#include <string>

namespace lull {

template <class Number>
std::string number(Number n) {
    return std::to_string(n);
}

inline std::string flag(bool b) {
    return b ? "1" : "0";
}

}  // namespace lull
