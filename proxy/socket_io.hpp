// recv(2) and send(2) that never block and raise no signal. glibc makes both cancellation points, which costs a process
// of several threads some 90 instructions a call; nobody here cancels a thread, so these are the system calls alone. Any thread.
#pragma once

#include <cerrno>
#include <cstddef>
#include <span>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

namespace lull {

// Sanitizers know only the C library's.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool through_c_library = true;
#else
inline constexpr bool through_c_library = false;
#endif

/// As recv(): the number of bytes, 0 at the end, or -1 and errno.
inline ssize_t receive_now(int fd, std::span<std::byte> into) {
    if constexpr (through_c_library) return ::recv(fd, into.data(), into.size(), MSG_DONTWAIT);
    return ::syscall(SYS_recvfrom, fd, into.data(), into.size(), MSG_DONTWAIT, nullptr, nullptr);
}

/// As send(): how many of the bytes the socket has taken, or -1 and errno.
inline ssize_t send_now(int fd, void const* bytes, std::size_t size) {
    if constexpr (through_c_library) return ::send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    return ::syscall(SYS_sendto, fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0);
}

}  // namespace lull
