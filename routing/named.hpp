// What a statement names, as numbers: which function, relation, type, operator. Facts about a catalog are
// looked up by them (catalog_facts). Values only.
#pragma once

#include <cstdint>
#include <string_view>

namespace lull::routing {

enum class named : std::uint8_t {
    function,
    relation,
    type,
    op,
    attribute,  // the last part of something qualified: may be a call of a function in the notation `row.f`
};

/// FNV-1a of kind, schema and name; the schema is empty for a name that is not qualified. Two names with the
/// same number are judged as one, by the stricter.
constexpr std::uint64_t name_number(named what, std::string_view schema, std::string_view name) {
    std::uint64_t h = 0xcbf29ce484222325;
    auto const add = [&](unsigned char c) { h = (h ^ c) * 0x100000001b3; };
    add(static_cast<unsigned char>(what));
    for (char c : schema) add(static_cast<unsigned char>(c));
    add(0);  // in no identifier
    for (char c : name) add(static_cast<unsigned char>(c));
    return h;
}

struct name_use {
    named what = named::function;
    bool unlisted = false;    // a function that no list of Lull's has
    std::uint64_t bare = 0;   // the number of the name without its schema
    std::uint64_t exact = 0;  // with it; 0 where none was written
    friend bool operator==(name_use const&, name_use const&) = default;
};

}  // namespace lull::routing
