// What keeps a client on its server in transaction pooling. A value.
#pragma once

#include "routing/operation.hpp"

#include <cstdint>
#include <string>

namespace lull {

enum class pin : std::uint8_t {
    mode,         // pool_mode session, or the migration port
    temporary,    // tables, and whatever else is in its temporary schema
    cursor,       // WITH HOLD
    lock,         // advisory, of the session
    hidden_lock,  // perhaps one, taken by what was meant for something else
    listen,       // there: the listener could not be used, or a function did it
    prepared,     // in SQL: by a text of several statements, by a function, or under a name that is not ASCII
    settings,     // that cannot be carried: too many, made by set_config() with arguments that are computed, or by a function
    library,      // LOAD
    sequences,    // what nextval() has said; given up when others wait for the server, or the site closes
};

class pin_set {
  public:
    void add(pin what) { bits_ |= bit(what); }
    /// What this statement, which pins, may leave behind.
    void add(routing::statement const& s);
    /// What code that it calls may leave behind.
    void add(routing::leavings left);
    void remove(pin what) { bits_ &= static_cast<std::uint16_t>(~bit(what)); }
    bool has(pin what) const { return (bits_ & bit(what)) != 0; }
    bool only(pin what) const { return bits_ == bit(what); }
    /// Has others than this.
    bool beside(pin what) const { return (bits_ & ~bit(what)) != 0; }
    void clear() { bits_ = 0; }
    explicit operator bool() const { return bits_ != 0; }
    /// The server can be asked whether it is still there, all of it but the sequences.
    bool askable() const;
    /// For operators: "temporary table, advisory lock".
    std::string text() const;

  private:
    static constexpr std::uint16_t bit(pin what) {
        return static_cast<std::uint16_t>(1U << static_cast<unsigned>(what));
    }
    std::uint16_t bits_ = 0;
};

}  // namespace lull
