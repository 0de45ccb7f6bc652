#include "protocol/pg/scram.hpp"

#include "protocol/pg/saslprep.hpp"
#include "protocol/pg/scram_text.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace lull::pg {
namespace {

using maybe_key = std::optional<scram_key>;

template <class Range>
void wipe(Range& secret) noexcept {
    OPENSSL_cleanse(secret.data(), secret.size());
}

void wipe(scram_keys& keys) noexcept {
    wipe(keys.client_key);
    wipe(keys.server_key);
}

// Fetched once in a thread: by EVP_sha256() every use of it would look it up among the providers again. What failed (there
// was no memory just then) is tried again with the next use, here and below.
EVP_MD const* sha_256_algorithm() noexcept {
    struct deleter {
        void operator()(EVP_MD* algorithm) const noexcept { EVP_MD_free(algorithm); }
    };
    thread_local std::unique_ptr<EVP_MD, deleter> algorithm;
    if (!algorithm) algorithm.reset(EVP_MD_fetch(nullptr, "SHA256", nullptr));
    return algorithm.get();
}

struct mac_deleter {
    void operator()(EVP_MAC_CTX* context) const noexcept { EVP_MAC_CTX_free(context); }
};
using mac = std::unique_ptr<EVP_MAC_CTX, mac_deleter>;

mac make_hmac() noexcept {
    EVP_MAC* const algorithm = EVP_MAC_fetch(nullptr, OSSL_MAC_NAME_HMAC, nullptr);
    mac context(algorithm ? EVP_MAC_CTX_new(algorithm) : nullptr);
    EVP_MAC_free(algorithm);
    char digest[] = "SHA256";
    OSSL_PARAM const with[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    if (context && EVP_MAC_CTX_set_params(context.get(), with) != 1) context.reset();
    return context;
}

// By a context of this thread's: what HMAC() looks up and makes for one use costs more than the digest.
maybe_key hmac(bytes key, std::string_view message) noexcept {
    thread_local mac context;
    if (!context) context = make_hmac();
    if (!context || key.empty()) return std::nullopt;  // without a key it would go on with the last one
    scram_key digest;
    auto const text = [](auto const& range) { return reinterpret_cast<unsigned char const*>(range.data()); };
    std::size_t size = 0;
    if (EVP_MAC_init(context.get(), text(key), key.size(), nullptr) != 1 ||
        EVP_MAC_update(context.get(), text(message), message.size()) != 1 ||
        EVP_MAC_final(context.get(), reinterpret_cast<unsigned char*>(digest.data()), &size, digest.size()) != 1 ||
        size != digest.size())
        return std::nullopt;
    return digest;
}

maybe_key sha_256(bytes data) noexcept {
    scram_key digest;
    if (EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
                   sha_256_algorithm(), nullptr) != 1)
        return std::nullopt;
    return digest;
}

void xor_into(scram_key& target, scram_key const& mask) noexcept {
    std::transform(target.begin(), target.end(), mask.begin(), target.begin(), std::bit_xor<>());
}

// In constant time: how much of a guess was right must not show.
bool equal(scram_key const& a, scram_key const& b) noexcept {
    return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

// Hi() of RFC 5802 and the two keys made of it; `iterations` and `salt` are within bounds.
std::optional<scram_keys> keys_of(std::string_view password, bytes salt, std::uint32_t iterations) {
    auto prepared = saslprep(password);
    if (prepared) password = *prepared;
    scram_key salted;
    EVP_MD const* const digest = sha_256_algorithm();
    bool const done = digest && PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                                                  reinterpret_cast<unsigned char const*>(salt.data()), static_cast<int>(salt.size()),
                                                  static_cast<int>(iterations), digest, static_cast<int>(salted.size()),
                                                  reinterpret_cast<unsigned char*>(salted.data())) == 1;
    if (prepared) wipe(*prepared);
    if (!done) return std::nullopt;
    maybe_key const client_key = hmac(salted, "Client Key");
    maybe_key const server_key = hmac(salted, "Server Key");
    wipe(salted);
    if (!client_key || !server_key) return std::nullopt;
    return scram_keys{*client_key, *server_key};
}

// What both sides sign.
std::string auth_message(std::string_view client_first_bare, std::string_view server_first,
                         std::string_view client_final_without_proof) {
    std::string message;
    message.reserve(client_first_bare.size() + server_first.size() + client_final_without_proof.size() + 2);
    return message.append(client_first_bare)
        .append(",")
        .append(server_first)
        .append(",")
        .append(client_final_without_proof);
}

// A hash of the user's name under the process's secret, one for each purpose.
scram_key mock_hash(std::string_view purpose, std::string_view user, bytes process_secret) {
    // Without a digest nothing can log in anyway; zeros have no known preimage either.
    return hmac(process_secret, std::string(purpose).append(user)).value_or(scram_key{});
}

}  // namespace

verifier_result make_verifier(std::string_view password, bytes salt, std::uint32_t iterations) {
    if (password.size() > max_password_bytes) return errc::scram_too_long;
    if (salt.empty() || salt.size() > max_salt_bytes) return errc::scram_salt;
    if (iterations < 1 || iterations > max_iterations) return errc::scram_iterations;
    auto keys = keys_of(password, salt, iterations);
    if (!keys) return errc::crypto_failed;
    maybe_key const stored_key = sha_256(keys->client_key);
    wipe(keys->client_key);
    if (!stored_key) return errc::crypto_failed;
    return scram_verifier{iterations, {salt.begin(), salt.end()}, *stored_key, keys->server_key};
}

std::array<std::byte, default_salt_bytes> salt_for(std::string_view user, bytes process_secret) {
    scram_key const hash = mock_hash("salt:", user, process_secret);
    std::array<std::byte, default_salt_bytes> salt;
    std::copy_n(hash.begin(), salt.size(), salt.begin());
    return salt;
}

scram_verifier mock_verifier(std::string_view user, bytes process_secret, std::uint32_t iterations) {
    auto const salt = salt_for(user, process_secret);
    return {iterations,
            {salt.begin(), salt.end()},
            mock_hash("stored key:", user, process_secret),
            mock_hash("server key:", user, process_secret)};
}

scram_server::~scram_server() {
    wipe(keys_);
    wipe(verifier_.stored_key);
    wipe(verifier_.server_key);
}

scram_result scram_server::start(std::string_view client_first, scram_verifier const& verifier,
                                 std::string_view server_nonce, scram_binding const& binding) {
    if (std::exchange(state_, state::failed) != state::idle) return errc::unexpected_message;
    if (!scram_text::is_nonce(server_nonce)) return errc::scram_nonce;
    auto const parsed = scram_text::parse_client_first(client_first);
    if (auto const* const error = std::get_if<errc>(&parsed)) return *error;
    auto const& message = std::get<scram_text::client_first>(parsed);
    bool const binds = message.gs2_header == scram_text::end_point_binding;
    bool const unused = message.gs2_header == scram_text::unused_channel_binding;
    if (binds != binding.plus) return errc::scram_malformed;
    if (unused && !binding.end_point.empty()) return errc::scram_channel_binding;

    verifier_ = verifier;
    client_first_bare_ = message.bare;
    channel_binding_ = scram_text::format_channel_binding(message.gs2_header, binding.end_point);
    nonce_ = std::string(message.nonce).append(server_nonce);
    server_first_ = scram_text::format_server_first(nonce_, verifier_.salt, verifier_.iterations);
    state_ = state::started;
    return server_first_;
}

scram_result scram_server::finish(std::string_view client_final) {
    if (std::exchange(state_, state::failed) != state::started) return errc::unexpected_message;
    scram_result result = check_final(client_final);
    if (std::holds_alternative<std::string>(result)) state_ = state::succeeded;
    return result;
}

scram_result scram_server::check_final(std::string_view client_final) {
    auto const parsed = scram_text::parse_client_final(client_final);
    if (auto const* const error = std::get_if<errc>(&parsed)) return *error;
    auto const& message = std::get<scram_text::client_final>(parsed);
    if (message.channel_binding != channel_binding_) {
        // Where nothing is bound it only says what was said before, and PostgreSQL calls it a matter of the protocol.
        bool const binds = channel_binding_ != scram_text::format_channel_binding(scram_text::no_channel_binding, {}) &&
                           channel_binding_ != scram_text::format_channel_binding(scram_text::unused_channel_binding, {});
        return binds ? errc::scram_channel_binding : errc::scram_malformed;
    }
    if (message.nonce != nonce_) return errc::scram_nonce;

    std::string const signed_text = auth_message(client_first_bare_, server_first_, message.without_proof);
    maybe_key const client_signature = hmac(verifier_.stored_key, signed_text);
    maybe_key const server_signature = hmac(verifier_.server_key, signed_text);
    if (!client_signature || !server_signature) return errc::crypto_failed;
    scram_key client_key = message.proof;
    xor_into(client_key, *client_signature);
    maybe_key const stored_key = sha_256(client_key);
    if (!stored_key) return errc::crypto_failed;
    if (!equal(*stored_key, verifier_.stored_key)) return errc::scram_wrong_proof;

    keys_ = {client_key, verifier_.server_key};
    wipe(client_key);
    return scram_text::format_server_final(*server_signature);
}

scram_client::scram_client(std::string password, std::string nonce)
    : has_keys_(false), password_(std::move(password)), nonce_(std::move(nonce)) {}

scram_client::scram_client(scram_keys const& keys, std::string nonce)
    : has_keys_(true), nonce_(std::move(nonce)), keys_(keys) {}

scram_client::~scram_client() {
    wipe(password_);
    wipe(keys_);
}

scram_result scram_client::client_first(std::string_view user, scram_binding binding) {
    if (std::exchange(state_, state::failed) != state::idle) return errc::unexpected_message;
    if (!scram_text::is_nonce(nonce_)) return errc::scram_nonce;
    if (password_.size() > max_password_bytes || user.size() > max_scram_message_bytes)
        return errc::scram_too_long;
    client_first_bare_ = scram_text::format_client_first_bare(user, nonce_);
    state_ = state::sent_first;
    binding_ = std::move(binding);
    gs2_header_ = binding_.plus                ? scram_text::end_point_binding
                  : binding_.end_point.empty() ? scram_text::no_channel_binding
                                               : scram_text::unused_channel_binding;
    return std::string(gs2_header_).append(client_first_bare_);
}

scram_result scram_client::on_server_first(std::string_view server_first) {
    if (std::exchange(state_, state::failed) != state::sent_first) return errc::unexpected_message;
    scram_result result = make_final(server_first);
    if (std::holds_alternative<std::string>(result)) state_ = state::sent_final;
    return result;
}

scram_result scram_client::make_final(std::string_view server_first) {
    auto const parsed = scram_text::parse_server_first(server_first);
    if (auto const* const error = std::get_if<errc>(&parsed)) return *error;
    auto const& message = std::get<scram_text::server_first>(parsed);
    // The server must have added something of its own, or an old exchange could be played to us again.
    if (message.nonce.size() <= nonce_.size() || !message.nonce.starts_with(nonce_)) return errc::scram_nonce;

    if (!has_keys_) {
        auto const keys = keys_of(password_, message.salt, message.iterations);
        if (!keys) return errc::crypto_failed;
        keys_ = *keys;
    }
    std::string client_final =
        scram_text::format_client_final_without_proof(message.nonce, gs2_header_, binding_.end_point);
    std::string const signed_text = auth_message(client_first_bare_, server_first, client_final);
    maybe_key const stored_key = sha_256(keys_.client_key);
    if (!stored_key) return errc::crypto_failed;
    maybe_key const client_signature = hmac(*stored_key, signed_text);
    maybe_key const server_signature = hmac(keys_.server_key, signed_text);
    if (!client_signature || !server_signature) return errc::crypto_failed;
    server_signature_ = *server_signature;
    scram_key proof = keys_.client_key;
    xor_into(proof, *client_signature);
    scram_text::append_proof(client_final, proof);
    return client_final;
}

boost::system::error_code scram_client::verify_server_final(std::string_view server_final) {
    if (std::exchange(state_, state::failed) != state::sent_final) return errc::unexpected_message;
    auto const parsed = scram_text::parse_server_final(server_final);
    if (auto const* const error = std::get_if<errc>(&parsed)) return *error;
    if (!equal(std::get<scram_key>(parsed), server_signature_)) return errc::scram_server_signature;
    state_ = state::succeeded;
    return {};
}

}  // namespace lull::pg
