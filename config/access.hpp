// Who may come in, and how: TLS on both sides. Plain values, part of model.hpp.
#pragma once

#include <cstdint>
#include <string>

namespace lull::config {

/// What PostgreSQL clients may or must do. verify_*: they must show a certificate that the CA signed, and
/// with verify_full its common name is the user's name.
enum class client_tls_mode : std::uint8_t { disable, allow, require, verify_ca, verify_full };

/// libpq's sslmode, but for `allow`. verify_ca: the server's certificate must be signed by the CA;
/// verify_full: and name its host.
enum class server_tls_mode : std::uint8_t { disable, prefer, require, verify_ca, verify_full };

enum class tls_version : std::uint8_t { v1_2, v1_3 };

/// Paths of PEM files, absolute or relative to the working folder.
struct client_tls {
    client_tls_mode mode = client_tls_mode::disable;
    std::string certificate;  // ours, with the chain up to the CA
    std::string key;
    std::string ca;  // of clients' certificates; empty: none is asked for
    tls_version min_version = tls_version::v1_2;
    friend bool operator==(client_tls const&, client_tls const&) = default;
};

struct server_tls {
    server_tls_mode mode = server_tls_mode::prefer;
    std::string ca;
    std::string certificate;  // ours, for servers that ask for one
    std::string key;
    bool direct = false;  // sslnegotiation=direct of PostgreSQL 17: no SSLRequest before the handshake
    tls_version min_version = tls_version::v1_2;
    friend bool operator==(server_tls const&, server_tls const&) = default;
};

}  // namespace lull::config
