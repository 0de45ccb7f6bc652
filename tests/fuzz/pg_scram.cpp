// The first byte chooses who hears the rest: a server at its first or second step, a client at its first or
// second, the parsers of verifiers and base64, who prepares passwords. Nothing but the right proof may succeed.
#include "protocol/pg/base64.hpp"
#include "protocol/pg/saslprep.hpp"
#include "protocol/pg/scram.hpp"

#include <cstdint>
#include <cstdlib>

using namespace lull;
using namespace lull::pg;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

scram_verifier const& verifier() {
    static scram_verifier const made = std::get<scram_verifier>(make_verifier("pw", as_bytes("salt"), 1));
    return made;
}

// A client with keys does not iterate, so that a run costs microseconds.
constexpr scram_keys keys{};

void hear_client_first(std::string_view text) {
    scram_server server;
    auto const first = server.start(text, verifier(), "server");
    if (std::holds_alternative<errc>(first)) return;
    require(std::get<std::string>(first).ends_with("server,s=c2FsdA==,i=1"));
    require(std::holds_alternative<errc>(server.finish(text)));
}

void hear_client_final(std::string_view text) {
    scram_server server;
    require(std::holds_alternative<std::string>(server.start("n,,n=,r=client", verifier(), "server")));
    // The nonces are fixed, so one proof is right; that nobody finds it is the point of SCRAM.
    require(std::holds_alternative<errc>(server.finish(text)));
    require(server.keys() == scram_keys{});
}

void hear_server_first(std::string_view text) {
    scram_client client(keys, "mine");
    (void)client.client_first();
    auto const final_message = client.on_server_first(text);
    if (auto const* const made = std::get_if<std::string>(&final_message))
        require(made->starts_with("c=biws,r=mine"));
}

void hear_server_final(std::string_view text) {
    scram_client client(keys, "mine");
    (void)client.client_first();
    (void)client.on_server_first("r=mineyours,s=c2FsdA==,i=1");
    require(client.verify_server_final(text).failed());
}

void parse_texts(std::string_view text) {
    auto const parsed = parse_verifier(text);
    if (auto const* const made = std::get_if<scram_verifier>(&parsed))
        require(format_verifier(*made) == text);
    if (auto const data = base64_decode(text)) require(base64_encode(*data) == text);
}

void prepare(std::string_view text) {
    if (auto const prepared = saslprep(text)) require(!prepared->empty() && prepared->size() <= text.size() * 11);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) return 0;
    std::string_view const text{reinterpret_cast<char const*>(data) + 1, size - 1};
    switch (data[0]) {
        case '1':
            hear_client_first(text);
            break;
        case '2':
            hear_server_first(text);
            break;
        case '3':
            hear_client_final(text);
            break;
        case '4':
            hear_server_final(text);
            break;
        case '5':
            prepare(text);
            break;
        default:
            parse_texts(text);
            break;
    }
    return 0;
}
