// SCRAM-SHA-256 for both sides (RFC 5802, RFC 7677; PostgreSQL manual, "SASL Authentication"), with channel
// binding to the certificate of the server (tls-server-end-point, RFC 5929) or without. Pure state machines:
// random bytes come from the caller. One object serves one login, on one thread, and wipes its secrets when
// it goes. Views are needed only during the call.
//
// Passwords in plain text are prepared by SASLprep before they are hashed, as on both sides of PostgreSQL (saslprep.hpp);
// their bound is that of what came, not of what it becomes.
//
// Bounds: messages 8 KiB; salts 1 KiB; iterations 1 to max_iterations wherever the work would be ours.
// Working with a password costs `iterations` times two SHA-256 rounds (1 to 2 ms for 4096) on the calling
// thread; working with verifiers and keys costs microseconds.
#pragma once

#include "protocol/errc.hpp"
#include "protocol/pg/bytes.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lull::pg {

inline constexpr std::string_view scram_sha_256 = "SCRAM-SHA-256";            // the SASL mechanism
inline constexpr std::string_view scram_sha_256_plus = "SCRAM-SHA-256-PLUS";  // with channel binding
inline constexpr std::size_t max_scram_message_bytes = 8 * 1024;
inline constexpr std::size_t max_salt_bytes = 1024;
inline constexpr std::size_t max_password_bytes = 8 * 1024;
inline constexpr std::uint32_t max_iterations = 100'000;
inline constexpr std::uint32_t default_iterations = 4096;  // PostgreSQL's
inline constexpr std::size_t nonce_bytes = 18;             // what PostgreSQL draws; 24 characters
inline constexpr std::size_t default_salt_bytes = 16;

using scram_key = std::array<std::byte, 32>;

/// What a login with a password or with a client's proof yields, and all that another login needs, at a
/// server that keeps the same verifier (same salt and iterations).
struct scram_keys {
    scram_key client_key{};
    scram_key server_key{};
    friend bool operator==(scram_keys const&, scram_keys const&) = default;
};

/// What a server keeps in place of a password: pg_authid.rolpassword.
struct scram_verifier {
    std::uint32_t iterations = 0;
    std::vector<std::byte> salt;
    scram_key stored_key{};
    scram_key server_key{};
    friend bool operator==(scram_verifier const&, scram_verifier const&) = default;
};

using verifier_result = std::variant<scram_verifier, errc>;

/// Whether it looks like a verifier rather than a password; parse_verifier may still refuse it.
[[nodiscard]] bool is_scram_verifier(std::string_view secret) noexcept;

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. Any positive Int32 of iterations: the work is
/// the client's. Error: scram_bad_verifier.
[[nodiscard]] verifier_result parse_verifier(std::string_view text);
[[nodiscard]] std::string format_verifier(scram_verifier const&);

/// Errors: scram_iterations, scram_salt, scram_too_long, crypto_failed.
[[nodiscard]] verifier_result make_verifier(std::string_view password, bytes salt,
                                            std::uint32_t iterations = default_iterations);

/// A salt for a user whose password is known in plain text, the same at every login while `process_secret` is
/// (32 random bytes, drawn once): a salt that changed would tell such users from others.
[[nodiscard]] std::array<std::byte, default_salt_bytes> salt_for(std::string_view user, bytes process_secret);

/// For a user that does not exist: a login against it looks like any other and fails at its end. Its salt is
/// salt_for(user), its keys have no known preimage.
[[nodiscard]] scram_verifier mock_verifier(std::string_view user, bytes process_secret,
                                           std::uint32_t iterations = default_iterations);

/// Printable form of random bytes, at least nonce_bytes of them.
[[nodiscard]] std::string make_nonce(bytes random);

/// A message to send, or why there is none. Errors are final: the object answers unexpected_message after
/// one.
using scram_result = std::variant<std::string, errc>;

/// What there is to bind a login to, and whether it is bound.
struct scram_binding {
    std::string end_point;  // hash of the server's certificate; empty: no TLS, or no hash
    bool plus = false;      // the mechanism is SCRAM-SHA-256-PLUS
};

/// The side that owns the verifier. start, then finish, each once.
class scram_server {
  public:
    scram_server() = default;
    scram_server(scram_server const&) = delete;
    scram_server& operator=(scram_server const&) = delete;
    ~scram_server();

    /// server-first-message. The user name in client_first is ignored, as PostgreSQL ignores it: who logs in
    /// was said in the startup packet. A client that says `y` where we have offered -PLUS was lied to by
    /// somebody on the way: scram_channel_binding (28000). Errors:
    /// scram_malformed (also for a flag that is not the mechanism's), scram_too_long, scram_channel_binding, scram_authorization_identity, scram_nonce (an
    /// unusable server_nonce).
    [[nodiscard]] scram_result start(std::string_view client_first, scram_verifier const& verifier,
                                     std::string_view server_nonce, scram_binding const& binding = {});

    /// server-final-message. Errors: scram_wrong_proof (the password is wrong: say 28P01, nothing more);
    /// scram_channel_binding (28000), scram_nonce, scram_malformed, scram_too_long (08P01), crypto_failed.
    [[nodiscard]] scram_result finish(std::string_view client_final);

    [[nodiscard]] bool succeeded() const noexcept { return state_ == state::succeeded; }
    /// The client's key as recovered from its proof, with the verifier's ServerKey: enough to log in as this
    /// user at a server with the same verifier. All zero unless succeeded().
    [[nodiscard]] scram_keys const& keys() const noexcept { return keys_; }

  private:
    enum class state : std::uint8_t { idle, started, succeeded, failed };
    scram_result check_final(std::string_view client_final);

    state state_ = state::idle;
    scram_verifier verifier_;
    std::string client_first_bare_;
    std::string server_first_;
    std::string nonce_;            // both halves
    std::string channel_binding_;  // what `c=` must say: of the gs2 header that came, and the certificate
    scram_keys keys_;
};

/// The side that logs in. client_first, on_server_first, verify_server_final, each once and in this order.
class scram_client {
  public:
    /// `nonce`: printable ASCII without comma, see make_nonce.
    scram_client(std::string password, std::string nonce);
    scram_client(scram_keys const& keys, std::string nonce);
    scram_client(scram_client const&) = delete;
    scram_client& operator=(scram_client const&) = delete;
    ~scram_client();

    /// PostgreSQL ignores the user name in it; libpq sends none. `binding`: an end point without plus says
    /// that we could bind and the server offers no -PLUS.
    [[nodiscard]] scram_result client_first(std::string_view user = {}, scram_binding binding = {});

    /// client-final-message. Errors: scram_malformed, scram_too_long, scram_nonce (ours is not in the
    /// server's), scram_iterations, scram_salt, crypto_failed.
    [[nodiscard]] scram_result on_server_first(std::string_view server_first);

    /// No error: the server has proved that it knows the verifier. Errors: scram_server_signature,
    /// scram_server_refused (it sent `e=`), scram_malformed, scram_too_long.
    [[nodiscard]] boost::system::error_code verify_server_final(std::string_view server_final);

    /// The server has proved itself.
    [[nodiscard]] bool succeeded() const noexcept { return state_ == state::succeeded; }
    /// Those of the constructor, or made of the password; for the next login. All zero unless succeeded().
    [[nodiscard]] scram_keys keys() const noexcept { return succeeded() ? keys_ : scram_keys{}; }

  private:
    enum class state : std::uint8_t { idle, sent_first, sent_final, succeeded, failed };
    scram_result make_final(std::string_view server_first);

    state state_ = state::idle;
    bool has_keys_;
    std::string password_;
    std::string nonce_;
    std::string client_first_bare_;
    scram_binding binding_;
    std::string_view gs2_header_;  // static storage
    scram_keys keys_;
    scram_key server_signature_{};
};

}  // namespace lull::pg
