// The part of fields.hpp about who may come in; fields.hpp includes it behind what it needs.
#pragma once

#include "config/access.hpp"

namespace lull::config {

inline constexpr std::array<choice<client_tls_mode>, 5> client_tls_modes{
    {{"disable", client_tls_mode::disable},
     {"allow", client_tls_mode::allow},
     {"require", client_tls_mode::require},
     {"verify-ca", client_tls_mode::verify_ca},
     {"verify-full", client_tls_mode::verify_full}}};
inline constexpr std::array<choice<server_tls_mode>, 5> server_tls_modes{
    {{"disable", server_tls_mode::disable},
     {"prefer", server_tls_mode::prefer},
     {"require", server_tls_mode::require},
     {"verify-ca", server_tls_mode::verify_ca},
     {"verify-full", server_tls_mode::verify_full}}};
inline constexpr std::array<choice<tls_version>, 2> tls_versions{
    {{"TLSv1.2", tls_version::v1_2}, {"TLSv1.3", tls_version::v1_3}}};

constexpr auto const& choices_of(client_tls_mode) {
    return client_tls_modes;
}
constexpr auto const& choices_of(server_tls_mode) {
    return server_tls_modes;
}
constexpr auto const& choices_of(tls_version) {
    return tls_versions;
}

template <class Tls, class V>
void visit_client_tls(Tls& t, V& v) {
    v.field(
        "mode", t.mode,
        spec{.about = "What PostgreSQL clients may or must do: disable (no TLS), allow, require; with "
                      "verify-ca they must show a certificate, with verify-full one in their user's name."});
    v.field(
        "certificate", t.certificate,
        spec{.about = "Lull's certificate and the chain to its CA, in PEM.", .path = true, .note = "none"});
    v.field("key", t.key,
            spec{.about = "The private key of the certificate, in PEM, without a passphrase.",
                 .path = true,
                 .note = "none"});
    v.field("ca", t.ca,
            spec{.about = "Who signs the certificates of clients, in PEM.",
                 .path = true,
                 .note = "clients are asked for none"});
    v.field("min_version", t.min_version, spec{.about = "The oldest TLS that is spoken."});
}

template <class Tls, class V>
void visit_server_tls(Tls& t, V& v) {
    v.field("mode", t.mode,
            spec{.about = "As libpq's sslmode: disable, prefer, require, verify-ca, verify-full.",
                 .restart = true});
    v.field("ca", t.ca,
            spec{.about = "Who signs the servers' certificates, in PEM; for verify-ca and verify-full.",
                 .restart = true,
                 .path = true,
                 .note = "none"});
    v.field("certificate", t.certificate,
            spec{.about = "Lull's certificate for servers that ask for one, in PEM.",
                 .restart = true,
                 .path = true,
                 .note = "none"});
    v.field("key", t.key,
            spec{.about = "Its private key, in PEM, without a passphrase.",
                 .restart = true,
                 .path = true,
                 .note = "none"});
    v.flag("direct", t.direct, "true", "false",
           spec{.about = "Begin with TLS without asking first: PostgreSQL 17's sslnegotiation=direct.",
                .restart = true});
    v.field("min_version", t.min_version, spec{.about = "The oldest TLS that is spoken.", .restart = true});
}

}  // namespace lull::config
