// The journal of one site as bytes: a header, then records that are only ever added. A record is its length,
// the CRC-32 of its payload and the payload; numbers are little-endian. Pure.
//
//   entry    a write that was answered and has to be run
//   intent   "this entry is about to be committed as transaction XID": on the disk before the COMMIT goes
//   out, so that
//            after a crash pg_xact_status(XID) tells whether it happened
//   outcome  what became of an entry
#pragma once

#include "proxy/journal_entry.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lull {

inline constexpr std::string_view journal_header{"LULLJ1\n\0", 8};

struct journal_intent {
    std::uint64_t number = 0;
    std::string xid;     // as pg_current_xact_id() gives it
    std::string origin;  // of that id: the server's system identifier and timeline
    std::string tag;     // what the entry came to, as "UPDATE 2"; empty: of a version that did not say
    friend bool operator==(journal_intent const&, journal_intent const&) = default;
};

enum class journal_result : std::uint8_t {
    done,
    failed,   // the server refused it, and nothing of it is there
    unknown,  // nobody can tell any more whether it was committed; it is not run again
    differs,  // done, but its client was told of another number of rows
};

struct journal_verdict {
    std::uint64_t number = 0;
    journal_result result = journal_result::done;
    std::string sqlstate;
    std::string message;
    friend bool operator==(journal_verdict const&, journal_verdict const&) = default;
};

void write_entry(std::string& out, journal_entry const& entry);
void write_intent(std::string& out, journal_intent const& intent);
void write_verdict(std::string& out, journal_verdict const& verdict);

struct journal_contents {
    std::vector<journal_entry> entries;                 // numbers grow
    std::map<std::uint64_t, journal_verdict> verdicts;  // by entry
    std::optional<journal_intent> intent;               // the last, if it has no outcome
    std::size_t good_bytes = 0;                         // what of the file was understood
    /// The end is half of a record, as a crash leaves it: it was never answered, and may be cut off.
    bool torn = false;
    /// Not empty: what lies behind good_bytes is damaged, and entries may be lost. A sentence.
    std::string damage;

    std::size_t pending() const { return entries.size() - verdicts.size(); }
};

/// Whatever the bytes are. An empty file is an empty journal.
journal_contents read_journal(std::string_view bytes);

}  // namespace lull
