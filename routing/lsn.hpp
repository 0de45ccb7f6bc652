// A position in PostgreSQL's write-ahead log (manual: pg_lsn, 8.20). Pure values, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lull::routing {

enum class lsn : std::uint64_t {};

/// "16/B374D848"; nothing else is accepted.
[[nodiscard]] std::optional<lsn> parse_lsn(std::string_view) noexcept;

[[nodiscard]] std::string format_lsn(lsn);

/// pg_current_wal_insert_lsn() names the place where the next record will begin. Where the last record ended
/// exactly with its page, that place is behind the next page's header (24 bytes; 40 in a segment's first
/// page), but the end of the last record, which is what a standby's replay LSN reaches, lies before it.
/// Without this a wait for "replayed >= inserted" would last until somebody writes again.
[[nodiscard]] lsn without_page_header(lsn inserted, std::uint64_t segment_bytes,
                                      std::uint64_t block_bytes = 8192) noexcept;

}  // namespace lull::routing
