// What became of the writes that a site's mode kept from running, since the process started. A value.
#pragma once

#include <cstdint>

namespace lull {

struct write_fates {
    std::uint64_t refused = 0;
    std::uint64_t held = 0;       // whatever came of it: it ran, was cancelled, or was refused in the end
    std::uint64_t discarded = 0;  // answered and dropped
    std::uint64_t journaled = 0;  // answered when on the disk
    std::uint64_t passed = 0;     // run all the same: they store nothing
    std::uint64_t over_limit = 0; // of the refused: no room to hold or to journal them, or held for too long
    std::uint64_t unknown = 0;    // the journal's disk failed: they may come to be run, or not

    write_fates& operator+=(write_fates const& other) {
        refused += other.refused;
        held += other.held;
        discarded += other.discarded;
        journaled += other.journaled;
        passed += other.passed;
        over_limit += other.over_limit;
        unknown += other.unknown;
        return *this;
    }
    write_fates operator-(write_fates const& other) const {
        return {.refused = refused - other.refused,
                .held = held - other.held,
                .discarded = discarded - other.discarded,
                .journaled = journaled - other.journaled,
                .passed = passed - other.passed,
                .over_limit = over_limit - other.over_limit,
                .unknown = unknown - other.unknown};
    }
    friend bool operator==(write_fates const&, write_fates const&) = default;
};

}  // namespace lull
