#include "protocol/errc.hpp"

#include <string>

namespace lull {
namespace {

class protocol_category_type final : public boost::system::error_category {
  public:
    char const* name() const noexcept override { return "lull.protocol"; }
    std::string message(int value) const override { return message_of(static_cast<errc>(value)); }
    char const* message(int value, char*, std::size_t) const noexcept override {
        return message_of(static_cast<errc>(value));
    }
};

}  // namespace

char const* message_of(errc e) noexcept {
    switch (e) {
        case errc::bad_frame_length:
            return "the length of a message is below 4 or above 1 GiB";
        case errc::frame_too_large:
            return "a message is longer than the limit";
        case errc::unexpected_message:
            return "a message of this type is not allowed at this point";
        case errc::malformed_message:
            return "a message is not laid out as its type requires";
        case errc::name_too_long:
            return "the name of a prepared statement or portal is longer than 1024 bytes";
        case errc::bad_startup_length:
            return "the length of the startup packet is invalid";
        case errc::malformed_startup:
            return "the startup packet is not laid out as the protocol requires";
        case errc::unsupported_protocol_version:
            return "the frontend protocol is not version 3";
        case errc::malformed_options:
            return "the startup parameter \"options\" has something other than \"-c name=value\" or "
                   "\"--name=value\"";
        case errc::scram_malformed:
            return "a SCRAM message is malformed";
        case errc::scram_too_long:
            return "a SCRAM message or a password is longer than 8 KiB";
        case errc::scram_channel_binding:
            return "SCRAM channel binding is not supported, or the client's two messages disagree about it";
        case errc::scram_authorization_identity:
            return "the client uses a SASL authorization identity, which is not supported";
        case errc::scram_nonce:
            return "the SCRAM nonce does not match, or is not usable";
        case errc::scram_iterations:
            return "the SCRAM iteration count is not from 1 to 100000";
        case errc::scram_salt:
            return "the SCRAM salt is empty or longer than 1 KiB";
        case errc::scram_wrong_proof:
            return "the SCRAM proof is wrong: password authentication failed";
        case errc::scram_server_refused:
            return "the server ended the SCRAM exchange with an error";
        case errc::scram_server_signature:
            return "the server's SCRAM signature is wrong: it does not know the password's verifier";
        case errc::scram_bad_verifier:
            return "the SCRAM-SHA-256 verifier is malformed";
        case errc::crypto_failed:
            return "a cryptographic function of OpenSSL failed";
        case errc::malformed_proxy_header:
            return "the PROXY protocol header is malformed";
    }
    return "unknown protocol error";
}

boost::system::error_category const& protocol_category() noexcept {
    static protocol_category_type const category;
    return category;
}

}  // namespace lull
