// What a client has asked its server to keep, or to undo, and what becomes of it is not known before the transaction ends.
// Owned by its session.
#pragma once

#include <cstdint>
#include <string>

namespace lull {

struct pending_setting {
    enum class what : std::uint8_t {
        make, reset, reset_all, discard_all, deallocate_all, savepoint, release, rollback_to,
        hear, listen, unlisten,  // hear: LISTEN that the listener has done
        end, nothing  // of a text that has the end of its transaction among others: that; and a statement that does none of this
    };
    what kind;
    std::string name;
    std::string value;
    bool confirmed = false;  // the server has done it
    bool last = false;       // of its statement, in such a text
    bool chain = false;      // of an end: AND CHAIN
};

}  // namespace lull
