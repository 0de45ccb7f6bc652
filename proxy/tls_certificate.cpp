#include "proxy/tls_certificate.hpp"

#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

namespace lull {

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

}  // namespace lull
