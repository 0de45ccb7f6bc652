// Any bytes are classified, within bounds, and the same text has the same verdict whether parsed or cached.
#include "routing/sql_classifier.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace lull::routing;

void require(bool fact) {
    if (!fact) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    static sql_classifier warm(
        {.cache_entries = 64, .cache_bytes = 64 * 1024, .cache_seed = 7});
    // Too small to keep anything: parses each time.
    static sql_classifier cold(
        {.cache_entries = 4, .cache_bytes = 0, .cache_seed = 7});
    if (size == 0) return 0;
    text_facts const facts{.standard_conforming_strings = (data[0] & 1) == 0,
                           .unsafe_encoding = (data[0] & 2) != 0};
    std::string_view const sql(reinterpret_cast<char const*>(data) + 1, size - 1);

    auto const parsed = cold.classify(sql, facts);
    auto const first = warm.classify(sql, facts);
    auto const again = warm.classify(sql, facts);
    require(parsed && *parsed == *first && *first == *again);
    require(!parsed->statements.empty());

    auto strictest = lull::routing::access::read;
    bool control = false;
    for (auto const& s : parsed->statements) {
        strictest = std::max(strictest, s.access);
        control = control || s.kind == statement_kind::begin || s.kind == statement_kind::commit ||
                  s.kind == statement_kind::rollback || s.kind == statement_kind::prepare_transaction;
        require(std::size_t{s.offset} + s.length <= sql.size());
    }
    require(strictest == parsed->access && control == parsed->transaction_control);
    return 0;
}
