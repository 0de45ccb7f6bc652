// What a statement, or a function that it calls, may leave in its session beyond its transaction. A value.
#pragma once

#include <cstdint>

namespace lull::routing {

enum class leaving : std::uint8_t {
    temporary,  // tables, and whatever else is in the session's temporary schema; or it may have dropped some
    cursor,     // WITH HOLD
    lock,       // advisory, of the session; or it may have released one
    listen,
    prepared,  // by SQL's PREPARE
    setting,     // also what a seed does to random()
    library,     // LOAD; a replication slot of the session
    as_written,  // beside what functions leave: what its text shows (statement::pins)
};

class leavings {
  public:
    constexpr leavings() = default;
    constexpr explicit leavings(leaving what) : bits_(bit(what)) {}
    constexpr bool has(leaving what) const { return (bits_ & bit(what)) != 0; }
    constexpr void add(leaving what) { bits_ |= bit(what); }
    constexpr void add(leavings other) { bits_ |= other.bits_; }
    constexpr void remove(leaving what) { bits_ &= static_cast<std::uint8_t>(~bit(what)); }
    /// Whether `other` has nothing that this has not.
    constexpr bool covers(leavings other) const { return (other.bits_ & ~bits_) == 0; }
    constexpr explicit operator bool() const { return bits_ != 0; }
    friend constexpr bool operator==(leavings, leavings) = default;

  private:
    static constexpr std::uint8_t bit(leaving what) {
        return static_cast<std::uint8_t>(1U << static_cast<unsigned>(what));
    }
    std::uint8_t bits_ = 0;
};

}  // namespace lull::routing
