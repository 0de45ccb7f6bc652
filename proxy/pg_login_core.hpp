// How a client comes in: from its first packet to AuthenticationOk, sans-io. Owned by a pg_client until the
// session begins; its worker's thread. No parameter of the client reaches a server before it is
// authenticated.
#pragma once

#include "protocol/pg/bytes.hpp"
#include "protocol/pg/scram.hpp"
#include "protocol/pg/startup.hpp"
#include "proxy/console_session_core.hpp"
#include "proxy/login_charge.hpp"
#include "proxy/pg_session_core.hpp"
#include "proxy/startup_wish_core.hpp"
#include "proxy/stats.hpp"
#include "routing/admission.hpp"
#include "routing/snapshot.hpp"

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lull {

/// Drawn once a process (secret) or once a login (nonce) from the kernel.
struct login_entropy {
    std::array<std::byte, 32> process_secret{};
    std::array<std::byte, pg::nonce_bytes> nonce{};
};

/// How the client is connected, as far as that decides what it may do.
struct login_channel {
    bool local = false;   // over a Unix socket
    bool tls = false;     // there is a certificate to speak TLS with
    std::string os_user;  // local: whose process it is; empty: not known
    std::string address;  // numeric, without a port; local: empty
    /// This machine's addresses, where a rule asks for samehost or samenet; asked when it is known who wants in.
    std::function<std::span<config::ip_network const>()> own = {};
};

/// What a finished handshake tells.
struct tls_facts {
    bool alpn = false;        // both agreed on `postgresql`
    bool verified = false;    // the client showed a certificate that our CA has signed
    std::string common_name;  // in it
    std::string end_point;    // tls-server-end-point of our own certificate; empty: none
};

/// Verifiers made of plain passwords, so that 2 ms of hashing are spent once a password and worker.
using verifier_cache = std::map<std::pair<std::string, std::string>, pg::scram_verifier>;

/// What a server is told of this user.
struct server_credentials {
    std::string password;
    std::optional<pg::scram_keys> keys;  // the client's own, where there is no password
    std::string md5_hash;                // where there is neither: good for servers that ask for md5

    bool operator==(server_credentials const&) const = default;
};

/// What one client too many is told.
inline constexpr std::string_view too_many_clients = "sorry, too many clients already";
inline constexpr std::string_view too_many_clients_hint = "The limit of the proxy is limits.max_clients.";
inline constexpr std::string_view too_many_files_hint = "The limit of the proxy is that of its open files; see its log.";

class pg_login_core {
  public:
    enum class need : std::uint8_t {
        input,
        tls,      // what is in `out` goes out in plain text; from here on the client speaks TLS: on_tls()
        secret,   // on_secret() must come: ask auth_query
        session,  // authenticated
        console,  // authenticated, for the console: console() says with which right
        cancel,   // it was a CancelRequest: cancel_pid(), cancel_secret()
        close,    // the error is in `out`
    };

    pg_login_core(std::shared_ptr<routing::snapshot const> snapshot, bool migration, login_channel channel,
                  login_entropy const& entropy, verifier_cache& verifiers, startup_book& startups, login_guard& guard);

    /// Whose connection it really is, told by somebody who is trusted; before on_client().
    void set_address(std::string address) { channel_.address = std::move(address); }
    /// There are too many clients already, and only the console is open: it is needed then. Before on_client().
    void crowded(turned_away_by why) { crowded_ = why; }
    bool is_crowded() const { return crowded_.has_value(); }
    /// It was refused for that.
    std::optional<turned_away_by> turned_away() const { return turned_away_; }
    /// Why it was refused, for the log; empty: it was not.
    std::string const& refusal() const { return refusal_; }
    /// Bytes consumed; what is to be sent is appended to `out`.
    std::size_t on_client(pg::bytes in, std::string& out);
    /// For need::tls: the handshake begins. Bytes of the client that were not consumed belong to it.
    void tls_begun() { need_ = need::input; }
    /// The handshake is done; what on_client() is given from now on was encrypted.
    void on_tls(tls_facts facts, std::string& out);
    void on_secret(std::optional<std::string> secret, std::string const& error, std::string& out);
    /// login_timeout has passed.
    void on_timeout(std::string& out);

    need needs() const { return need_; }
    std::string const& user() const { return wish_->user; }
    std::string const& database() const { return wish_->database; }
    /// Whose auth_query is meant by need::secret.
    std::string const& cluster() const { return cluster_; }
    /// What auth_query has said did not let the client in: if that was not fresh, it is to be asked anew, for a
    /// need::secret of this login and for the next one.
    bool doubts_secret() const { return doubts_secret_; }
    std::int32_t cancel_pid() const { return cancel_pid_; }
    /// How long the secret of its cancel key is, in bytes: what its protocol version can have.
    std::size_t secret_bytes() const { return wish_->protocol >= pg::protocol_3_2 ? 32 : 4; }
    std::string const& cancel_secret() const { return cancel_secret_; }
    /// For need::session: not none, and the session is not one of ours but the server's walsender's.
    replication_kind replication() const { return wish_->replication; }
    /// What the client has set in its startup packet; of replication only.
    std::string_view startup_parameter(std::string_view name) const;
    /// The startup packet that the primary is to see.
    std::string replication_packet() const;
    /// For need::session; key_pid and key_secret are the caller's to fill.
    session_identity identity() const;
    server_credentials credentials() const;
    /// What the user may do on the console, if that is what was asked for; nothing: it is not open to this user.
    std::optional<console_right> console() const;

  private:
    enum class state : std::uint8_t { startup, secret, cleartext, md5, sasl_initial, sasl_response, over };

    std::size_t on_startup(pg::bytes in, std::string& out);
    void begin(std::string& out);
    routing::newcomer newcomer() const;
    bool replication_suffices(std::string& out);
    // pg_auth_core.cpp
    void authenticate(std::string& out);
    bool tls_suffices(std::string& out);
    bool certificate_suffices(config::client_certificate wanted, std::string& out);
    void find_secret(std::string& out);
    bool refused_as_guess(std::string& out);
    void use_secret(std::string const& secret);
    void use_found(std::optional<std::string> secret);
    void on_second_secret(std::optional<std::string> secret, std::string const& error, std::string& out);
    bool answered_right() const;
    void accept_answer(std::string& out);
    bool has_query();
    void challenge(std::string& out);
    pg::bytes md5_salt() const;
    std::size_t on_password(pg::bytes in, std::string& out);
    void on_plain_answer(pg::bytes body, std::string& out);
    bool on_sasl_initial(pg::bytes body, std::string& out);
    void on_sasl_response(pg::bytes body, std::string& out);
    void accept(std::string& out);
    void refuse(std::string_view sqlstate, std::string_view message, std::string& out,
                std::string_view hint = {}, std::string_view detail = {});
    void refuse_host(std::string_view why, std::string& out, std::string_view hint);
    void refuse_password(std::string& out);
    config::user const* known_user() const;
    bool wants_console() const;

    std::shared_ptr<routing::snapshot const> snapshot_;
    bool const migration_;
    std::optional<turned_away_by> crowded_;
    std::optional<turned_away_by> turned_away_;
    login_channel channel_;
    std::optional<tls_facts> tls_;
    bool direct_tls_ = false;
    login_entropy entropy_;
    verifier_cache& verifiers_;
    startup_book& startups_;
    login_guard& guard_;
    state state_ = state::startup;
    need need_ = need::input;
    bool asked_ssl_ = false;
    bool asked_gss_ = false;
    std::shared_ptr<startup_wish const> wish_;  // never null
    std::string cluster_;
    std::optional<routing::site_id> site_;
    pg::scram_verifier verifier_;
    std::string md5_hash_;   // what is stored in place of a verifier
    std::string answer_;     // of a client that was asked for its password, in plain text or with md5
    std::string cleartext_;  // the password itself, where the method had it sent
    std::optional<std::string> found_;  // by auth_query
    bool by_md5_ = false;    // it is one to md5_salt()
    bool asked_query_ = false;
    std::optional<login_charge> charge_;  // it was wrong by the first answer, and may be right by the second
    bool doubts_secret_ = false;
    config::auth_method method_ = config::auth_method::scram_sha_256;
    bool known_ = false;  // the verifier is a real user's
    std::optional<pg::scram_server> scram_;
    std::optional<pg::scram_keys> keys_;
    std::int32_t cancel_pid_ = 0;
    std::string cancel_secret_;
    std::string refusal_;
};

}  // namespace lull
