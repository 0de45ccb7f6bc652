// What the TLS connections of one kind have in common: certificate, key, CA, versions. Made on the control
// thread, from files; immutable, so that any thread may make connections of it; a reload makes another, and
// connections keep the one they began with.
#pragma once

#include "config/issue.hpp"
#include "config/model.hpp"
#include "proxy/tls_certificate.hpp"
#include "proxy/tls_filter.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace lull {

struct tls_trouble {
    std::string key;   // of the configuration: "certificate", "key" or "ca"; empty: none of them
    std::string what;  // with the file's name
    std::string fix;
};

class tls_context {
  public:
    /// Null: `trouble` says why. Not for mode disable.
    static std::shared_ptr<tls_context const> for_clients(config::client_tls const&, tls_trouble& trouble);
    static std::shared_ptr<tls_context const> for_servers(config::server_tls const&, tls_trouble& trouble);

    /// The server's side of a connection.
    std::unique_ptr<tls_filter> accept() const;
    /// The client's side. `host`: what the certificate must name, where the mode is verify-full.
    std::unique_ptr<tls_filter> connect(std::string const& host) const;

    /// Where it has a certificate of its own, or CAs.
    certificate_period own_period() const { return period_shown(context_.get()); }
    certificate_period ca_period() const { return period_trusted(context_.get()); }

  private:
    tls_context() = default;
    bool load(std::string const& certificate, std::string const& key, std::string const& ca,
              config::tls_version oldest, tls_trouble& trouble);

    std::shared_ptr<ssl_ctx_st> context_;
    bool verifies_host_ = false;
};

/// A file of certificates, by the key that names it: client_tls.certificate, clusters.main.tls.ca.
struct tls_expiry {
    std::string key;
    std::string file;
    std::chrono::sys_seconds until;
};

/// All that a configuration asks for.
struct tls_keyring {
    std::shared_ptr<tls_context const> clients;                         // null: no TLS
    std::map<std::string, std::shared_ptr<tls_context const>> servers;  // by cluster; absent: no TLS
    std::map<std::string, std::string> files;  // that these were made of: a digest of each, by its name
    std::vector<tls_expiry> expiries;
};

/// Reads every file that `config` names. Null: `issues` says which could not be used, and where they are named by `where`;
/// `warnings` are of those that can.
std::shared_ptr<tls_keyring const> load_keyring(config::config const& config, config::positions const& where,
                                                std::vector<config::issue>& issues,
                                                std::vector<config::warning>& warnings);

/// Where workers find the keyring in force. Any thread.
class tls_shelf {
  public:
    std::shared_ptr<tls_keyring const> get() const {
        std::lock_guard const lock(mutex_);
        return keyring_;
    }
    void put(std::shared_ptr<tls_keyring const> keyring) {
        std::lock_guard const lock(mutex_);
        keyring_ = std::move(keyring);
    }

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<tls_keyring const> keyring_ = std::make_shared<tls_keyring const>();
};

}  // namespace lull
