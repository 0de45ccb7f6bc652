// Who may come in, and how: TLS on both sides, rules, methods. Plain values, part of model.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

struct ip_address {
    std::array<std::uint8_t, 16> bytes{};  // IPv4 has the first four
    bool v6 = false;
    friend bool operator==(ip_address const&, ip_address const&) = default;
};

/// The addresses that agree with `base` wherever `mask` has a one.
struct ip_network {
    ip_address base;
    ip_address mask;
    friend bool operator==(ip_network const&, ip_network const&) = default;

    bool contains(ip_address const& a) const {
        if (a.v6 != base.v6) return false;
        for (std::size_t i = 0; i < a.bytes.size(); ++i)
            if ((a.bytes[i] ^ base.bytes[i]) & mask.bytes[i]) return false;
        return true;
    }
};

/// How a client proves who it is. md5: with an md5 hash where that is what is stored of the password, else
/// SCRAM, as in PostgreSQL.
enum class auth_method : std::uint8_t { trust, reject, password, md5, scram_sha_256, cert, peer };

enum class hba_connection : std::uint8_t { local, host, hostssl, hostnossl };

/// What of certificates is asked beside the method: one that our CA has signed, or one in the user's name.
enum class client_certificate : std::uint8_t { not_asked, verify_ca, verify_full };

/// A regular expression (name_pattern.hpp makes it). Immutable, any thread.
class name_pattern {
  public:
    name_pattern() = default;
    name_pattern(name_pattern const&) = delete;
    name_pattern& operator=(name_pattern const&) = delete;
    virtual ~name_pattern() = default;
    /// Anywhere in the name, unless the pattern is anchored.
    [[nodiscard]] virtual bool matches(std::string_view name) const = 0;
};

struct hba_name {
    std::string text;
    bool quoted = false;  // then all, sameuser and replication are names like others
    std::shared_ptr<name_pattern const> pattern = nullptr;  // of a text that begins with a slash, quoted or not

    friend bool operator==(hba_name const& a, hba_name const& b) { return a.text == b.text && a.quoted == b.quoted; }
};

/// Whom a rule means beside those of its network: who comes from an address, or a network, of this machine itself.
enum class hba_near : std::uint8_t { anywhere, same_host, same_net };

/// A line of pg_hba.conf.
struct hba_rule {
    hba_connection connection = hba_connection::host;
    std::vector<hba_name> databases;
    std::vector<hba_name> users;
    std::optional<ip_network> network;  // nothing: all
    hba_near near = hba_near::anywhere;
    auth_method method = auth_method::reject;
    client_certificate certificate = client_certificate::not_asked;
    friend bool operator==(hba_rule const&, hba_rule const&) = default;
};

}  // namespace lull::config
