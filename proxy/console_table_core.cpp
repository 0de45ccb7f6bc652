#include "proxy/console_table_core.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/types.hpp"
#include "protocol/pg/writer.hpp"
#include "protocol/utf8.hpp"

namespace lull {

namespace {

/// pg_type.typlen
std::uint16_t size_of(column_type t) {
    switch (t) {
        case column_type::int8:
            return 8;
        case column_type::int4:
            return 4;
        case column_type::text:
        case column_type::numeric:
            return 0xffff;  // -1: varies
    }
    return 0xffff;
}

}  // namespace

void write_table(std::string& out, console_table const& table, std::string_view tag) {
    {
        pg::writer w(out, pg::backend::row_description);
        w.int16(static_cast<std::uint16_t>(table.columns.size()));
        for (console_column const& c : table.columns)
            w.text(c.name)
                .int32(0)  // of no table
                .int16(0)
                .int32(static_cast<std::uint32_t>(c.type))
                .int16(size_of(c.type))
                .int32(0xffffffff)  // no modifier
                .int16(0);          // as text
    }
    for (auto const& row : table.rows) {
        pg::writer w(out, pg::backend::data_row);
        w.int16(static_cast<std::uint16_t>(row.size()));
        for (auto const& value : row) {
            if (!value) {
                w.int32(0xffffffff);
                continue;
            }
            // Clients of any encoding have written some of it, and the operator was told that this is UTF-8.
            std::string const text = as_utf8(*value);
            w.int32(static_cast<std::uint32_t>(text.size())).raw(std::string_view(text));
        }
    }
    pg::write_command_complete(out, tag);
}

}  // namespace lull
