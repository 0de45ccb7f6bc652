// Who may have which of the process's file descriptors. The system gives the lowest number that is free (open(2)): where each use
// has a mark of its own, what lies above one is kept free of those below whatever they do, and nobody has to count. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lull {

/// In the order in which they find no room.
enum class descriptor_use : std::uint8_t {
    client,
    refusal,  // clients who are told that there is no room, as an answer to what they ask
    server,   // connections to servers and upstreams, and the migration's own
    metrics,
    admin,  // behind them the control role's connections, files and hooks have the rest
};

/// How many numbers that use may have where the process may open `limit` files: those below that.
constexpr std::size_t descriptors_below(descriptor_use use, std::size_t limit) {
    auto const within = [](std::size_t n, std::size_t least, std::size_t most) { return n < least ? least : n > most ? most : n; };
    std::size_t const own = limit < 64 ? limit / 2 : within(limit / 8, 32, 256);
    std::size_t const rest = limit - own;
    switch (use) {
        case descriptor_use::client:
            return rest - rest / 4;
        case descriptor_use::refusal:
            return rest - rest / 4 + rest / 16;
        case descriptor_use::server:
            return rest;
        case descriptor_use::metrics:
            return rest + own / 2;
        case descriptor_use::admin:
            return rest + own / 2 + own / 4;
    }
    return 0;
}

}  // namespace lull
