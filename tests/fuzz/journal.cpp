// The journal's reader: whatever the bytes, it neither reads beyond them nor invents entries; what it
// understood is written back as bytes that read the same.
#include "proxy/journal_format_core.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const bytes{reinterpret_cast<char const*>(data), size};
    lull::journal_contents const first = lull::read_journal(bytes);
    if (first.good_bytes > size || first.verdicts.size() > first.entries.size()) std::abort();
    std::string again(lull::journal_header);
    for (auto const& e : first.entries) lull::write_entry(again, e);
    for (auto const& [number, v] : first.verdicts) lull::write_verdict(again, v);
    if (first.intent) lull::write_intent(again, *first.intent);
    lull::journal_contents const second = lull::read_journal(again);
    if (second.entries != first.entries || second.verdicts != first.verdicts ||
        second.intent != first.intent || second.torn || !second.damage.empty())
        std::abort();
    return 0;
}
