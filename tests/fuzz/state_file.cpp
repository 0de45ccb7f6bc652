// The state file's text: whatever is accepted must be written back as text that reads the same.
#include "proxy/state_file.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    auto const first = lull::parse_state({reinterpret_cast<char const*>(data), size});
    auto const* records = std::get_if<lull::maintenance_records>(&first);
    if (!records) return 0;
    auto const again = lull::parse_state(lull::format_state(*records));
    auto const* same = std::get_if<lull::maintenance_records>(&again);
    if (!same || *same != *records) std::abort();
    return 0;
}
