#include "protocol/pg/scram_text.hpp"

#include "protocol/pg/base64.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

namespace lull::pg {
namespace {

constexpr std::string_view verifier_prefix = "SCRAM-SHA-256$";

// The text before `end`, which is taken too; nothing if there is no `end`.
std::optional<std::string_view> take_until(std::string_view& text, char end) noexcept {
    std::size_t const at = text.find(end);
    if (at == std::string_view::npos) return std::nullopt;
    std::string_view const taken = text.substr(0, at);
    text.remove_prefix(at + 1);
    return taken;
}

// Reads the attributes of a message, `a=value` with commas between.
class attributes {
  public:
    explicit attributes(std::string_view message) noexcept : rest_(message) {}

    /// The value of the next attribute, which must be this one.
    std::optional<std::string_view> take(char name) noexcept {
        if (ended_ || rest_.size() < 2 || rest_[0] != name || rest_[1] != '=') return std::nullopt;
        std::string_view const value = rest_.substr(2, rest_.find(',') - 2);
        advance(value.size() + 2);
        return value;
    }

    /// Takes what is no attribute of ours: a letter, `=`, a value. Extensions are to be ignored.
    bool skip() noexcept {
        auto const is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
        return !ended_ && !rest_.empty() && is_letter(rest_[0]) && take(rest_[0]);
    }

    [[nodiscard]] bool ended() const noexcept { return ended_; }
    [[nodiscard]] bool at(char name) const noexcept { return !ended_ && rest_.starts_with(name); }
    [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }

  private:
    void advance(std::size_t count) noexcept {
        ended_ = count == rest_.size();
        rest_.remove_prefix(ended_ ? count : count + 1);
    }

    std::string_view rest_;
    bool ended_ = false;
};

// Digits only, no sign, no leading zero.
std::optional<std::uint32_t> parse_count(std::string_view text, std::uint32_t max) noexcept {
    std::uint32_t value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text.front() == '0' || value > max)
        return std::nullopt;
    return value;
}

std::optional<scram_key> parse_key(std::string_view base64) {
    auto const data = base64_decode(base64);
    scram_key key;
    if (!data || data->size() != key.size()) return std::nullopt;
    std::copy(data->begin(), data->end(), key.begin());
    return key;
}

bool is_printable_value(std::string_view value) noexcept {
    return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x21 && c <= 0x7e && c != ','; });
}

}  // namespace

bool is_scram_verifier(std::string_view secret) noexcept {
    return secret.starts_with(verifier_prefix);
}

verifier_result parse_verifier(std::string_view text) {
    if (!is_scram_verifier(text) || text.size() > max_scram_message_bytes) return errc::scram_bad_verifier;
    text.remove_prefix(verifier_prefix.size());
    auto const iterations = take_until(text, ':');
    auto const salt_text = take_until(text, '$');
    auto const stored_text = take_until(text, ':');
    if (!iterations || !salt_text || !stored_text) return errc::scram_bad_verifier;

    auto const count = parse_count(*iterations, std::numeric_limits<std::int32_t>::max());
    auto salt = base64_decode(*salt_text);
    auto const stored_key = parse_key(*stored_text);
    auto const server_key = parse_key(text);
    if (!count || !salt || salt->empty() || salt->size() > max_salt_bytes || !stored_key || !server_key)
        return errc::scram_bad_verifier;
    return scram_verifier{*count, std::move(*salt), *stored_key, *server_key};
}

std::string format_verifier(scram_verifier const& verifier) {
    return std::string(verifier_prefix)
        .append(std::to_string(verifier.iterations))
        .append(":")
        .append(base64_encode(verifier.salt))
        .append("$")
        .append(base64_encode(verifier.stored_key))
        .append(":")
        .append(base64_encode(verifier.server_key));
}

std::string make_nonce(bytes random) {
    return base64_encode(random);
}

namespace scram_text {

bool is_nonce(std::string_view text) noexcept {
    return !text.empty() && is_printable_value(text);
}

std::variant<client_first, errc> parse_client_first(std::string_view message) {
    if (message.size() > max_scram_message_bytes) return errc::scram_too_long;
    std::string_view bare = message;
    auto const flag = take_until(bare, ',');
    auto const identity = take_until(bare, ',');
    if (!flag || !identity) return errc::scram_malformed;
    if (flag->starts_with("p=") && *flag != "p=tls-server-end-point") return errc::scram_malformed;
    if (*flag != "n" && *flag != "y" && !flag->starts_with("p=")) return errc::scram_malformed;
    if (!identity->empty())
        return identity->starts_with("a=") ? errc::scram_authorization_identity : errc::scram_malformed;

    attributes in(bare);
    // An `m=` here would be an extension that must be understood; there is none, so it fails as a wrong name.
    auto const user = in.take('n');
    auto const nonce = in.take('r');
    if (!user || !nonce || !is_nonce(*nonce)) return errc::scram_malformed;
    while (!in.ended())
        if (!in.skip()) return errc::scram_malformed;
    std::string_view const gs2_header = message.substr(0, message.size() - bare.size());
    return client_first{bare, gs2_header, *nonce};
}

std::variant<server_first, errc> parse_server_first(std::string_view message) {
    if (message.size() > max_scram_message_bytes) return errc::scram_too_long;
    attributes in(message);
    auto const nonce = in.take('r');
    auto const salt_text = in.take('s');
    auto const iterations = in.take('i');
    if (!nonce || !is_nonce(*nonce) || !salt_text || !iterations) return errc::scram_malformed;
    while (!in.ended())
        if (!in.skip()) return errc::scram_malformed;

    auto salt = base64_decode(*salt_text);
    if (!salt) return errc::scram_malformed;
    if (salt->empty() || salt->size() > max_salt_bytes) return errc::scram_salt;
    auto const count = parse_count(*iterations, max_iterations);
    if (!count) return errc::scram_iterations;
    return server_first{*nonce, std::move(*salt), *count};
}

std::variant<client_final, errc> parse_client_final(std::string_view message) {
    if (message.size() > max_scram_message_bytes) return errc::scram_too_long;
    attributes in(message);
    auto const channel_binding = in.take('c');
    auto const nonce = in.take('r');
    if (!channel_binding || !nonce || !is_nonce(*nonce)) return errc::scram_malformed;
    while (!in.ended() && !in.at('p'))
        if (!in.skip()) return errc::scram_malformed;

    // The proof is last, and the comma before it is not signed.
    std::string_view const without_proof = message.substr(0, message.size() - in.left() - 1);
    auto const proof_text = in.take('p');
    if (!proof_text || !in.ended()) return errc::scram_malformed;
    auto const proof = parse_key(*proof_text);
    if (!proof) return errc::scram_malformed;
    return client_final{without_proof, *channel_binding, *nonce, *proof};
}

std::variant<scram_key, errc> parse_server_final(std::string_view message) {
    if (message.size() > max_scram_message_bytes) return errc::scram_too_long;
    attributes in(message);
    if (in.at('e')) return in.take('e') ? errc::scram_server_refused : errc::scram_malformed;
    auto const verifier = in.take('v');
    if (!verifier) return errc::scram_malformed;
    while (!in.ended())
        if (!in.skip()) return errc::scram_malformed;
    auto const signature = parse_key(*verifier);
    if (!signature) return errc::scram_malformed;
    return *signature;
}

std::string format_client_first_bare(std::string_view user, std::string_view nonce) {
    std::string bare = "n=";
    for (char const c : user) {
        if (c == ',') {
            bare += "=2C";
        } else if (c == '=') {
            bare += "=3D";
        } else {
            bare += c;
        }
    }
    return bare.append(",r=").append(nonce);
}

std::string format_server_first(std::string_view nonce, bytes salt, std::uint32_t iterations) {
    return std::string("r=")
        .append(nonce)
        .append(",s=")
        .append(base64_encode(salt))
        .append(",i=")
        .append(std::to_string(iterations));
}

std::string format_channel_binding(std::string_view gs2_header, std::string_view end_point) {
    std::string input(gs2_header);
    if (gs2_header == end_point_binding) input += end_point;
    return base64_encode(as_bytes(input));
}

std::string format_client_final_without_proof(std::string_view nonce, std::string_view gs2_header,
                                              std::string_view end_point) {
    return "c=" + format_channel_binding(gs2_header, end_point) + ",r=" + std::string(nonce);
}

void append_proof(std::string& client_final, scram_key const& proof) {
    client_final.append(",p=").append(base64_encode(proof));
}

std::string format_server_final(scram_key const& signature) {
    return "v=" + base64_encode(signature);
}

}  // namespace scram_text
}  // namespace lull::pg
