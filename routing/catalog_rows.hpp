// What was read of one database's catalog, as far as it decides whether a statement may come to call
// something: functions, relations, operators and types with what each of them reaches. Values only; read by
// proxy/catalog_reader, made into catalog_facts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lull::routing {

struct catalog_object {
    enum class kind : std::uint8_t { function, relation, type, op };
    /// What it is to call or read it, apart from what it reaches.
    enum class nature : std::uint8_t {
        harmless,   // a table, a view, an operator, a type; a steady function of an extension in C; an
                    // aggregate
        by_source,  // a function that may not write by its declaration: harmless if its source calls nothing
                    // else
        unknown,    // a volatile function, one in an untrusted language, a foreign table
    };
    kind what = kind::relation;
    std::uint32_t oid = 0;
    std::string schema;
    std::string name;
    nature is = nature::unknown;
    bool of_row = false;  // a function that `row.name` may call
    std::string source;   // in SQL or PL/pgSQL; empty where there is none of them
    bool of_any = false;  // a function that `(x).name` may call: one argument is enough
    bool sequence = false;
};

/// `from` calls, reads or checks `to`.
struct catalog_edge {
    catalog_object::kind from_kind{};
    std::uint32_t from = 0;
    catalog_object::kind to_kind{};
    std::uint32_t to = 0;
};

/// `from` calls a function of pg_catalog that came with the server.
struct catalog_builtin {
    catalog_object::kind from_kind{};
    std::uint32_t from = 0;
    std::string function;
};

struct catalog_rows {
    std::vector<catalog_object> objects;
    std::vector<catalog_edge> edges;
    std::vector<catalog_builtin> builtins;
    /// Functions that a statement may call without naming anything: casts, comparisons of operator classes.
    std::vector<std::uint32_t> nameless;
    /// Roles whose rights reach past a READ ONLY transaction: superusers, and who may replicate, read or
    /// write server files, run programs or signal others.
    std::vector<std::string> privileged;
    std::vector<std::string> extensions;
};

}  // namespace lull::routing
