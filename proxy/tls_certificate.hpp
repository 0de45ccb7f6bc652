// What is read from an X.509 certificate. For tls_filter.cpp and tls_context.cpp.
#pragma once

#include <chrono>
#include <string>

struct x509_st;     // OpenSSL's X509
struct ssl_ctx_st;  // and SSL_CTX

namespace lull {

/// The subject's common name; empty where there is none, or one with a NUL in it, which would be read as a
/// shorter name by some.
std::string common_name_of(x509_st* certificate);

/// Its hash with the algorithm of its signature, with SHA-256 in place of MD5 and SHA-1 (RFC 5929, section
/// 4.1); empty: the signature has no such algorithm (Ed25519), and nothing can be bound to it.
std::string end_point_of(x509_st* certificate);

/// When it counts.
struct certificate_period {
    std::chrono::sys_seconds from, until;
};
/// Of the certificate that is shown with its chain, of which each must count.
certificate_period period_shown(ssl_ctx_st* context);
/// Of the CAs that are trusted, of which one is enough.
certificate_period period_trusted(ssl_ctx_st* context);

}  // namespace lull
