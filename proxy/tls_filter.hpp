// One TLS connection between its socket and its session, without either: ciphertext in, plaintext out, and
// the other way round. Owned by a connection, used on its worker. Plain connections have none and pay
// nothing.
//
// Idle it holds no buffers of ours, and of OpenSSL's only a record that has arrived in part (16 KiB at most).
// What it wants to send is appended to a string, so that a wake-up ends in one send, as without TLS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <sys/uio.h>
#include <vector>

struct ssl_st;  // OpenSSL's SSL

namespace lull {

/// The most plaintext that `cipher_bytes` of fresh ciphertext can become: with what was kept of a record.
constexpr std::size_t most_plaintext(std::size_t cipher_bytes) {
    return cipher_bytes + 17 * 1024;
}

class tls_filter {
  public:
    enum class state : std::uint8_t { handshake, open, closed, failed };
    enum class side : std::uint8_t { accept, connect };

    /// Takes ownership of `ssl`, which has no BIO yet.
    tls_filter(ssl_st* ssl, side which);
    ~tls_filter();
    tls_filter(tls_filter const&) = delete;
    tls_filter& operator=(tls_filter const&) = delete;

    /// The first flight, of the side that connects.
    void start(std::string& out);

    /// All of `cipher` is taken. Returns how many bytes of `plain`, which has room for most_plaintext(), were
    /// filled. Answers of the protocol itself are appended to `out`, also where the state is failed
    /// afterwards: the alert.
    std::size_t open(std::span<std::byte const> cipher, std::span<std::byte> plain, std::string& out);

    /// Encrypts `plain` and appends it to `out`. Only while the state is open; false: it has failed.
    bool seal(std::span<iovec const> plain, std::string& out);

    /// Says goodbye (close_notify), if there is anybody to say it to.
    void close(std::string& out);

    state where() const { return state_; }
    /// For state::failed: why, in words for a log or a client.
    std::string const& error() const { return error_; }

    // Once open.
    /// Whether both agreed on the protocol `postgresql` (ALPN).
    bool spoke_alpn() const;
    /// The other side showed a certificate, and it was verified.
    bool peer_verified() const;
    /// The common name in it; empty: it has none that can be a user's.
    std::string peer_common_name() const;
    /// tls-server-end-point of the other side's certificate; empty: none.
    std::string peer_end_point() const;
    /// That of our own certificate, as this connection has it.
    std::string own_end_point() const;

  private:
    struct wire;  // what OpenSSL reads from and writes to
    void fail(int result);

    ssl_st* ssl_;
    std::unique_ptr<wire> wire_;
    state state_ = state::handshake;
    std::string error_;
};

}  // namespace lull
