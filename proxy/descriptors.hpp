// The file descriptors of this process: the limit, and who may have how many of them (descriptor_marks_core.hpp). Any thread.
#pragma once

#include "proxy/descriptor_marks_core.hpp"

#include <chrono>
#include <cstddef>
#include <optional>

namespace lull {

/// Shells and service managers give 1024, fewer than the clients that the limits allow: as many as the system permits.
void raise_descriptor_limit();

/// How many may be open. An operator may have changed it (prlimit(1)): it is looked at again where that makes a difference.
std::size_t descriptor_limit();

/// Whether what is for that use may keep `fd`. Where it may not, the log says so, once in a while.
bool has_room(descriptor_use use, int fd);

/// As has_room(), for who asks on behalf of somebody else and has nothing to say.
bool would_have_room(descriptor_use use, int fd);

/// socket(2), non-blocking, for a connection to a server: -1 and EMFILE where what is left is for others.
int server_socket(int family);

/// How long ago somebody found no room; nothing: nobody did.
std::optional<std::chrono::seconds> since_no_room();

}  // namespace lull
