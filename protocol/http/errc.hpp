// What can be wrong with an HTTP message, and the status that tells a client so. Values; any thread.
#pragma once

#include <cstdint>

namespace lull::http {

enum class errc : std::uint8_t {
    none,
    // start line
    bad_start_line,
    bad_method,
    bad_target,
    target_too_long,
    bad_version,
    unsupported_version,
    bad_status,
    // fields
    head_too_large,
    too_many_fields,
    bad_field_name,
    bad_field_value,
    obsolete_folding,
    bare_cr_or_lf,
    // meaning
    no_host,
    bad_host,
    host_mismatch,
    bad_content_length,
    ambiguous_length,
    bad_transfer_coding,
    unsupported_expectation,
    unsupported_method,
    // body
    bad_chunk,
    chunk_extensions_too_long,
    bad_trailer,
    trailer_too_long,
};

/// One sentence for problem documents and logs; static storage.
char const* describe(errc) noexcept;

/// The status of the answer to a request that has this error; never 2xx.
unsigned status_of(errc) noexcept;

}  // namespace lull::http
