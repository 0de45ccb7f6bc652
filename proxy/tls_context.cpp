#include "proxy/tls_context.hpp"

#include "config/network.hpp"
#include "proxy/tls_doubts.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <unistd.h>

namespace lull {

namespace {

/// As it goes over the wire: a length and the name.
constexpr unsigned char alpn_postgresql[] = "\x0apostgresql";
constexpr unsigned alpn_bytes = sizeof alpn_postgresql - 1;

/// Only what both have in common: a client that asks for another protocol is at the wrong door (ALPACA).
int choose_protocol(SSL*, unsigned char const** out, unsigned char* out_size, unsigned char const* in,
                    unsigned in_size, void*) {
    unsigned char* chosen = nullptr;
    int const found = SSL_select_next_proto(&chosen, out_size, alpn_postgresql, alpn_bytes, in, in_size);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// Nobody is there to type a passphrase.
int no_passphrase(char*, int, int, void*) {
    return 0;
}

tls_trouble trouble_with(std::string const& key, std::string const& file, std::string const& fix) {
    if (::access(file.c_str(), R_OK) != 0)
        return {key, file + ": cannot read it: " + std::strerror(errno),
                "check the path, and let the user that runs lull read it"};
    unsigned long const code = ERR_peek_last_error();
    char const* const reason = ERR_reason_error_string(code);
    return {key, file + ": " + (reason ? reason : "not usable"), fix};
}

}  // namespace

bool tls_context::load(std::string const& certificate, std::string const& key, std::string const& ca,
                       config::tls_version oldest, tls_trouble& trouble) {
    ERR_clear_error();
    context_.reset(SSL_CTX_new(TLS_method()), SSL_CTX_free);
    SSL_CTX* const c = context_.get();
    if (!c) {
        trouble = {"", "OpenSSL gives no context", "check the installation of OpenSSL"};
        return false;
    }
    SSL_CTX_set_min_proto_version(c, oldest == config::tls_version::v1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    // Sessions are not resumed, as in PostgreSQL: a resumed one would keep what a reload took away.
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(c, 0);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_passwd_cb(c, &no_passphrase);
    if (!certificate.empty()) {
        if (SSL_CTX_use_certificate_chain_file(c, certificate.c_str()) != 1) {
            trouble = trouble_with("certificate", certificate, "give a certificate in PEM, followed by its chain");
            return false;
        }
        if (SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM) != 1) {
            trouble = trouble_with("key", key, "give the private key of " + certificate + " in PEM, without a passphrase");
            return false;
        }
        if (SSL_CTX_check_private_key(c) != 1) {
            trouble = trouble_with("key", key, "give the key that belongs to " + certificate);
            return false;
        }
    }
    if (!ca.empty() && SSL_CTX_load_verify_locations(c, ca.c_str(), nullptr) != 1) {
        trouble = trouble_with("ca", ca, "give the certificates of the CA in PEM");
        return false;
    }
    return true;
}

std::shared_ptr<tls_context const> tls_context::for_clients(config::client_tls const& t,
                                                            tls_trouble& trouble) {
    std::shared_ptr<tls_context> made(new tls_context);
    if (!made->load(t.certificate, t.key, t.ca, t.min_version, trouble)) return nullptr;
    SSL_CTX* const c = made->context_.get();
    SSL_CTX_set_alpn_select_cb(c, &choose_protocol, nullptr);
    if (!t.ca.empty()) {
        // Who shows none may still come in where a rule lets him: that is decided with the user's name.
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, nullptr);
        SSL_CTX_set_client_CA_list(c, SSL_load_client_CA_file(t.ca.c_str()));
    }
    return made;
}

std::shared_ptr<tls_context const> tls_context::for_servers(config::server_tls const& t,
                                                            tls_trouble& trouble) {
    std::shared_ptr<tls_context> made(new tls_context);
    if (!made->load(t.certificate, t.key, t.ca, t.min_version, trouble)) return nullptr;
    SSL_CTX* const c = made->context_.get();
    SSL_CTX_set_alpn_protos(c, alpn_postgresql, alpn_bytes);
    if (t.mode >= config::server_tls_mode::verify_ca) SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
    made->verifies_host_ = t.mode == config::server_tls_mode::verify_full;
    return made;
}

std::unique_ptr<tls_filter> tls_context::accept() const {
    SSL* const ssl = SSL_new(context_.get());
    return ssl ? std::make_unique<tls_filter>(ssl, tls_filter::side::accept) : nullptr;
}

std::unique_ptr<tls_filter> tls_context::connect(std::string const& host) const {
    SSL* const ssl = SSL_new(context_.get());
    if (!ssl) return nullptr;
    bool const numeric = config::parse_address(host).has_value();
    // Server Name Indication is for names (RFC 6066).
    if (!numeric) SSL_set_tlsext_host_name(ssl, host.c_str());
    if (verifies_host_) {
        X509_VERIFY_PARAM* const want = SSL_get0_param(ssl);
        X509_VERIFY_PARAM_set_hostflags(want, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if (!numeric)
            X509_VERIFY_PARAM_set1_host(want, host.c_str(), host.size());
        else
            X509_VERIFY_PARAM_set1_ip_asc(want, host.c_str());
    }
    return std::make_unique<tls_filter>(ssl, tls_filter::side::connect);
}

namespace {

/// Tells one content from another; a private key is not to be kept for that.
std::string digest_of(std::string const& file) {
    std::ifstream in(file, std::ios::binary);
    std::string const content(std::istreambuf_iterator<char>(in), {});
    std::string digest(EVP_MAX_MD_SIZE, '\0');
    unsigned size = 0;
    EVP_Digest(content.data(), content.size(), reinterpret_cast<unsigned char*>(digest.data()), &size, EVP_sha256(),
               nullptr);
    digest.resize(size);
    return digest;
}

}  // namespace

std::shared_ptr<tls_keyring const> load_keyring(config::config const& config, config::positions const& where,
                                                std::vector<config::issue>& issues,
                                                std::vector<config::warning>& warnings) {
    auto made = std::make_shared<tls_keyring>();
    tls_trouble trouble;
    auto const now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    auto const tell = [&](std::string path) {
        if (!trouble.key.empty()) path = config::join_path(path, trouble.key);
        config::position const at = where.find(path);
        issues.push_back({where.file, at.line, at.column, std::move(path), trouble.what, trouble.fix});
    };
    auto const note = [&](auto const& settings) {
        for (std::string const* file : {&settings.certificate, &settings.key, &settings.ca})
            if (!file->empty()) made->files[*file] = digest_of(*file);
    };
    auto const warn = [&](std::string path, std::optional<tls_doubt> doubt) {
        if (!doubt) return;
        config::position const at = where.find(path);
        warnings.push_back({where.file, at.line, at.column, std::move(path), std::move(doubt->what), std::move(doubt->fix)});
    };
    auto const look = [&](std::string const& path, auto const& settings, tls_context const& context) {
        auto const dates = [&](char const* key, std::string const& file, certificate_period const& period) {
            made->expiries.push_back({path + key, file, period.until});
            warn(path + key, doubt_period(file, period, now));
        };
        if (!settings.certificate.empty()) {
            dates(".certificate", settings.certificate, context.own_period());
            warn(path + ".key", doubt_key_file(settings.key));
        }
        if (!settings.ca.empty()) dates(".ca", settings.ca, context.ca_period());
    };
    if (config.client_tls.mode != config::client_tls_mode::disable) {
        note(config.client_tls);
        made->clients = tls_context::for_clients(config.client_tls, trouble);
        if (made->clients)
            look("client_tls", config.client_tls, *made->clients);
        else
            tell("client_tls");
    }
    for (auto const& [name, cluster] : config.clusters) {
        if (cluster.tls.mode == config::server_tls_mode::disable) continue;
        note(cluster.tls);
        auto context = tls_context::for_servers(cluster.tls, trouble);
        std::string const path = config::join_path("clusters", name) + ".tls";
        if (context)
            look(path, cluster.tls, *context);
        else
            tell(path);
        made->servers[name] = std::move(context);
    }
    return issues.empty() ? made : nullptr;
}

}  // namespace lull
