// One write that is kept to be run later: who sent it, what its text means (the settings of its session), and
// the statement as it came on the wire. A value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lull {

struct journal_entry {
    std::uint64_t number = 0;      // given by the journal, from 1
    std::int64_t received_us = 0;  // since 1970, UTC; given by the journal
    std::string database;
    std::string user;
    std::string application_name;
    std::vector<std::string> settings;  // SQL that makes them, in order; read the same way by every session
    bool extended = false;
    std::string text;
    // Of the extended protocol, as on the wire: the OIDs of Parse, and Bind from its parameter formats on.
    std::string parameter_types;
    std::string bind_rest;
    std::string tag;  // what its client was told, as "UPDATE 1"
    friend bool operator==(journal_entry const&, journal_entry const&) = default;
};

/// What became of an entry that was to be kept.
enum class journal_outcome : std::uint8_t {
    kept,    // it is on the disk
    full,    // a limit would be passed
    failed,  // the disk did not take it
    closed,  // the window ends: it is too late to be kept
    unknown, // the disk failed, and did not take it back either: it may be run or not
};

}  // namespace lull
