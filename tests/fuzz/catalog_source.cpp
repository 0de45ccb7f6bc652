// Sources of functions, as anybody may write them into a catalog: reading them for words must end, and what
// is called, or left in the session, must not depend on blanks or comments in front of it.
#include "routing/catalog_source.hpp"
#include "routing/source_leavings.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string const source(reinterpret_cast<char const*>(data), size);
    std::string culprit;
    std::size_t words = 0;
    bool const all = lull::routing::source_reaches(
        source,
        [&](std::string_view name, bool) {
            if (name.size() > source.size()) std::abort();
            return ++words > 2 * source.size() + 2;
        },
        culprit);
    if (all && culprit != "U&") std::abort();
    // A call that is put behind a whole word is found, unless a comment or a name in quotes has been begun.
    if (source.find_first_of("\"/-&") == std::string::npos &&
        !lull::routing::source_reaches(
            source + " wanted /* ( */ --\n(",
            [](std::string_view name, bool called) { return called && name == "wanted"; }, culprit))
        std::abort();
    using lull::routing::leaving;
    std::size_t calls = 0;
    lull::routing::source_leaves(source, [&](std::string_view name) {
        if (name.size() > source.size()) std::abort();
        calls += 1;
    });
    if (calls > 8 * source.size()) std::abort();
    // The same of what stands behind a whole statement, unless a text has been begun.
    if (source.find_first_of("\"'$/-") == std::string::npos) {
        auto const left = lull::routing::source_leaves(
            source + " ; /* ' */ Set --\n x to 1; select pg_advisory_lock /* */ (1)", [](std::string_view) {});
        if (!left.has(leaving::setting) || !left.has(leaving::lock)) std::abort();
    }
    return 0;
}
