#include "proxy/tls_certificate.hpp"

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace lull {

namespace {

std::chrono::sys_seconds moment(ASN1_TIME const* when) {
    std::tm parts{};
    ASN1_TIME_to_tm(when, &parts);
    return std::chrono::sys_seconds(std::chrono::seconds(::timegm(&parts)));
}

certificate_period period_of(X509 const* certificate) {
    return {moment(X509_get0_notBefore(certificate)), moment(X509_get0_notAfter(certificate))};
}

}  // namespace

std::string common_name_of(x509_st* certificate) {
    X509_NAME* const subject = X509_get_subject_name(certificate);
    int const at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0) return {};
    ASN1_STRING* const value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    unsigned char* text = nullptr;
    int const size = ASN1_STRING_to_UTF8(&text, value);
    if (size < 0) return {};
    std::string name(reinterpret_cast<char const*>(text), static_cast<std::size_t>(size));
    OPENSSL_free(text);
    return name.find('\0') == std::string::npos ? name : std::string();
}

std::string end_point_of(x509_st* certificate) {
    int digest = NID_undef;
    if (!OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest, nullptr)) return {};
    EVP_MD const* const algorithm =
        digest == NID_md5 || digest == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(digest);
    if (!algorithm) return {};
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (X509_digest(certificate, algorithm, hash, &size) != 1) return {};
    return {reinterpret_cast<char const*>(hash), size};
}

certificate_period period_shown(ssl_ctx_st* context) {
    certificate_period all = period_of(SSL_CTX_get0_certificate(context));
    STACK_OF(X509)* chain = nullptr;
    SSL_CTX_get0_chain_certs(context, &chain);
    for (int i = 0; i < sk_X509_num(chain); ++i) {
        certificate_period const one = period_of(sk_X509_value(chain, i));
        all = {std::max(all.from, one.from), std::min(all.until, one.until)};
    }
    return all;
}

certificate_period period_trusted(ssl_ctx_st* context) {
    certificate_period all{std::chrono::sys_seconds::max(), std::chrono::sys_seconds::min()};
    auto const* const known = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
    for (int i = 0; i < sk_X509_OBJECT_num(known); ++i) {
        X509 const* const certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(known, i));
        if (!certificate) continue;
        certificate_period const one = period_of(certificate);
        all = {std::min(all.from, one.from), std::max(all.until, one.until)};
    }
    if (all.from == std::chrono::sys_seconds::max()) std::swap(all.from, all.until);  // there is none: nothing ends
    return all;
}

}  // namespace lull
