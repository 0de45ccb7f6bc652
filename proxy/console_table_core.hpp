// Answers of the console as PostgreSQL messages. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lull {

/// With PostgreSQL's OIDs (pg_type.dat).
enum class column_type : std::uint32_t { int8 = 20, int4 = 23, text = 25, numeric = 1700 };

struct console_column {
    std::string_view name;
    column_type type = column_type::text;
};

struct console_table {
    using value = std::optional<std::string>;  // nothing: NULL
    std::vector<console_column> columns;
    std::vector<std::vector<value>> rows;  // each as long as columns
};

/// RowDescription, DataRows, CommandComplete.
void write_table(std::string& out, console_table const& table, std::string_view tag);

}  // namespace lull
