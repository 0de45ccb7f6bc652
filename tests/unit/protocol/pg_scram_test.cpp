#include "protocol/pg/base64.hpp"
#include "protocol/pg/scram.hpp"
#include "tests/unit/protocol/pg_bytes.hpp"

#include <doctest/doctest.h>

#include <openssl/evp.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

using namespace lull;
using namespace lull::pg;

namespace {

// RFC 7677 section 3.
constexpr std::string_view rfc_user = "user";
constexpr std::string_view rfc_password = "pencil";
constexpr std::string_view rfc_client_nonce = "rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view rfc_server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view rfc_salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
constexpr std::string_view rfc_client_first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view rfc_server_first =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view rfc_client_final =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr std::string_view rfc_server_final = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

std::string ok(scram_result const& result) {
    REQUIRE(std::holds_alternative<std::string>(result));
    return std::get<std::string>(result);
}

errc error(scram_result const& result) {
    REQUIRE(std::holds_alternative<errc>(result));
    return std::get<errc>(result);
}

scram_verifier verifier_of(std::string_view password, std::uint32_t iterations = 2) {
    return std::get<scram_verifier>(make_verifier(password, as_bytes("salt"), iterations));
}

scram_verifier rfc_verifier() {
    return std::get<scram_verifier>(make_verifier(rfc_password, *base64_decode(rfc_salt)));
}

/// A server's answer to this client-first-message.
scram_result start(std::string_view client_first) {
    return scram_server().start(client_first, verifier_of("pw"), "server");
}

/// What a server that has begun like RFC 7677 says to this client-final-message.
scram_result finish(std::string_view client_final, std::string_view client_first = rfc_client_first) {
    static scram_verifier const verifier = rfc_verifier();
    scram_server server;
    (void)ok(server.start(client_first, verifier, rfc_server_nonce));
    scram_result result = server.finish(client_final);
    CHECK(server.succeeded() == std::holds_alternative<std::string>(result));
    if (!server.succeeded()) CHECK(server.keys() == scram_keys{});
    return result;
}

/// What a client with nonce "mine" says to this server-first-message.
scram_result answer(std::string_view server_first) {
    scram_client client("pw", "mine");
    (void)ok(client.client_first());
    return client.on_server_first(server_first);
}

/// What a client that has come as far as RFC 7677 says to this server-final-message.
boost::system::error_code verify(std::string_view server_final) {
    scram_client client{std::string(rfc_password), std::string(rfc_client_nonce)};
    (void)ok(client.client_first(rfc_user));
    (void)ok(client.on_server_first(rfc_server_first));
    auto const result = client.verify_server_final(server_final);
    CHECK(client.succeeded() == !result);
    if (result) CHECK(client.keys() == scram_keys{});
    return result;
}

/// Lets one log in at the other; the last error, or none.
boost::system::error_code log_in(scram_client& client, scram_server& server, scram_verifier const& verifier) {
    auto const server_first = server.start(ok(client.client_first()), verifier, "server");
    auto const server_final = server.finish(ok(client.on_server_first(ok(server_first))));
    if (auto const* const failed = std::get_if<errc>(&server_final)) return *failed;
    return client.verify_server_final(ok(server_final));
}

}  // namespace

TEST_CASE("SCRAM: the exchange of RFC 7677, seen by the client") {
    scram_client client{std::string(rfc_password), std::string(rfc_client_nonce)};
    CHECK(ok(client.client_first(rfc_user)) == rfc_client_first);
    CHECK(ok(client.on_server_first(rfc_server_first)) == rfc_client_final);
    CHECK_FALSE(client.verify_server_final(rfc_server_final));
    CHECK(client.succeeded());
}

TEST_CASE("SCRAM: the exchange of RFC 7677, seen by the server") {
    scram_server server;
    CHECK(ok(server.start(rfc_client_first, rfc_verifier(), rfc_server_nonce)) == rfc_server_first);
    CHECK(ok(server.finish(rfc_client_final)) == rfc_server_final);
    CHECK(server.succeeded());
}

TEST_CASE("SCRAM: the keys that the server recovers log in without the password") {
    auto const verifier = rfc_verifier();
    scram_server server;
    (void)ok(server.start(rfc_client_first, verifier, rfc_server_nonce));
    (void)ok(server.finish(rfc_client_final));

    scram_client client(server.keys(), std::string(rfc_client_nonce));
    CHECK(ok(client.client_first(rfc_user)) == rfc_client_first);
    CHECK(ok(client.on_server_first(rfc_server_first)) == rfc_client_final);
    CHECK_FALSE(client.verify_server_final(rfc_server_final));
    CHECK(client.keys() == server.keys());
    CHECK(server.keys().server_key == verifier.server_key);
}

TEST_CASE("SCRAM: right and wrong passwords") {
    for (std::string const password : {"secret", "", "with, and =", "p\xc3\xa4ss", "\xff\xfe"}) {
        CAPTURE(password);
        scram_client client(password, "mine");
        scram_server server;
        CHECK_FALSE(log_in(client, server, verifier_of(password)));
        CHECK(client.keys() == server.keys());

        scram_client wrong(password + "x", "mine");
        scram_server refusing;
        CHECK(log_in(wrong, refusing, verifier_of(password)) == errc::scram_wrong_proof);
        CHECK(refusing.keys() == scram_keys{});
    }
}

TEST_CASE("SCRAM: a verifier as PostgreSQL 15 stores it, and what is none") {
    // rolpassword for the password and the salt of RFC 7677.
    std::string const text =
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    CHECK(is_scram_verifier(text));
    auto const parsed = parse_verifier(text);
    REQUIRE(std::holds_alternative<scram_verifier>(parsed));
    CHECK(std::get<scram_verifier>(parsed) == rfc_verifier());
    CHECK(format_verifier(rfc_verifier()) == text);

    for (std::size_t size = 0; size < text.size(); ++size)
        CHECK(std::get<errc>(parse_verifier(text.substr(0, size))) == errc::scram_bad_verifier);
    CHECK(std::get<errc>(parse_verifier(text + "=")) == errc::scram_bad_verifier);
    auto const with = [&](std::string_view iterations, std::string_view salt) {
        return parse_verifier("SCRAM-SHA-256$" + std::string(iterations) + ":" + std::string(salt) +
                              text.substr(text.find('$', 20)));
    };
    CHECK(std::get<scram_verifier>(with("2147483647", "AAAA")).iterations == 2147483647);
    for (std::string_view const iterations :
         {"", "0", "-1", "+1", "2147483648", "99999999999999999999", "1x", " 1"})
        CHECK(std::get<errc>(with(iterations, "AAAA")) == errc::scram_bad_verifier);
    CHECK(std::get<errc>(with("1", "")) == errc::scram_bad_verifier);
    CHECK(std::get<errc>(with("1", "!!!!")) == errc::scram_bad_verifier);
    CHECK(std::get<errc>(with("1", base64_encode(as_bytes(std::string(1025, 's'))))) ==
          errc::scram_bad_verifier);
    CHECK_FALSE(is_scram_verifier("md5abc"));
    CHECK_FALSE(is_scram_verifier("SCRAM-SHA-256"));
}

TEST_CASE("SCRAM: bounds of a verifier that we make") {
    std::string const salt(max_salt_bytes, 's');
    CHECK(std::holds_alternative<scram_verifier>(make_verifier("pw", as_bytes(salt), 1)));
    CHECK(std::get<errc>(make_verifier("pw", as_bytes(salt + "s"), 1)) == errc::scram_salt);
    CHECK(std::get<errc>(make_verifier("pw", {}, 1)) == errc::scram_salt);
    CHECK(std::get<errc>(make_verifier("pw", as_bytes(salt), 0)) == errc::scram_iterations);
    CHECK(std::get<errc>(make_verifier("pw", as_bytes(salt), max_iterations + 1)) == errc::scram_iterations);
    CHECK(std::get<errc>(make_verifier(std::string(8193, 'p'), as_bytes(salt), 1)) == errc::scram_too_long);
}

TEST_CASE("SCRAM: a user that does not exist is refused like one with a wrong password") {
    auto const secret = as_bytes("0123456789abcdef0123456789abcdef");
    auto const mock = mock_verifier("nobody", secret);
    CHECK(mock == mock_verifier("nobody", secret));
    CHECK(mock.iterations == default_iterations);
    CHECK(mock.salt.size() == default_salt_bytes);
    CHECK(mock.salt != mock_verifier("somebody", secret).salt);
    CHECK(mock.salt != mock_verifier("nobody", as_bytes("another")).salt);
    CHECK(mock.stored_key != mock.server_key);
    auto const salt = salt_for("nobody", secret);
    CHECK(mock.salt == std::vector<std::byte>(salt.begin(), salt.end()));

    scram_client client("anything", "mine");
    scram_server server;
    CHECK(log_in(client, server, mock) == errc::scram_wrong_proof);
}

TEST_CASE("SCRAM: what a client-first-message may be") {
    CHECK(ok(start("n,,n=,r=client")) == "r=clientserver,s=c2FsdA==,i=2");
    CHECK(ok(start("y,,n=,r=client")) == "r=clientserver,s=c2FsdA==,i=2");
    CHECK(ok(start("n,,n=a=2Cb,r=client,x=ext,Z=more")) == "r=clientserver,s=c2FsdA==,i=2");
    CHECK(error(start("p=tls-unique,,n=,r=client")) == errc::scram_malformed);
    CHECK(error(start("n,a=ann,n=,r=client")) == errc::scram_authorization_identity);
    for (std::string_view const text : {"",
                                        "n",
                                        "n,",
                                        "n,,",
                                        "n,,n",
                                        "n,,n=",
                                        "n,,n=,",
                                        "n,,n=,r",
                                        "n,,n=,r=",
                                        "n,,n=,r=client,",
                                        "n,,r=client",
                                        "x,,n=,r=client",
                                        "nn,,n=,r=client",
                                        "n,x,n=,r=client",
                                        "n,,m=ext,n=,r=client",
                                        "n,,n=,r=cli ent",
                                        "n,,n=,r=client,x",
                                        "n,,n=,r=client,1=x",
                                        "n,,n=,r=client,=x",
                                        "n,,n=,r=cl\x7f",
                                        "n,,n=,r=\xc3\xa4",
                                        "N,,n=,r=client",
                                        "n,,n=,x=1,r=client"}) {
        CAPTURE(text);
        CHECK(error(start(text)) == errc::scram_malformed);
    }
    CHECK(error(start(std::string("n,,n=,r=") + std::string(8193, 'r'))) == errc::scram_too_long);
    CHECK(error(start(wire("n,,n=,r=a\0b"))) == errc::scram_malformed);
    for (std::string_view const nonce : {"", "a,b", "a b"})
        CHECK(error(scram_server().start("n,,n=,r=client", verifier_of("pw"), nonce)) == errc::scram_nonce);
}

TEST_CASE("SCRAM-PLUS: both sides bind to the same certificate, or nobody logs in") {
    auto const log_in_bound = [](scram_binding const& client_side, scram_binding const& server_side) {
        scram_client client("pw", "mine");
        scram_server server;
        auto const first = client.client_first({}, client_side);
        auto const server_first = server.start(ok(first), verifier_of("pw"), "server", server_side);
        if (std::holds_alternative<errc>(server_first)) return false;
        auto const client_final = client.on_server_first(ok(server_first));
        auto const server_final = server.finish(ok(client_final));
        if (std::holds_alternative<errc>(server_final)) {
            CHECK(error(server_final) == errc::scram_channel_binding);
            return false;
        }
        return !client.verify_server_final(ok(server_final)).failed();
    };
    scram_binding const bound{"hash of the certificate", true};
    CHECK(log_in_bound(bound, bound));
    CHECK(!log_in_bound(bound, {"hash of another certificate", true}));  // somebody is in between
    CHECK(!log_in_bound(bound, {}));
    CHECK(!log_in_bound(bound, {bound.end_point, false}));
    CHECK(!log_in_bound({}, bound));
    // The client could bind and was told that the server cannot: true of a server without TLS, a lie
    // otherwise.
    scram_binding const could{bound.end_point, false};
    CHECK(log_in_bound(could, {}));
    CHECK(!log_in_bound(could, could));
    CHECK(!log_in_bound(could, bound));
    // A client that knows nothing of it may always come without.
    CHECK(log_in_bound({}, could));
}

TEST_CASE("SCRAM: a client-final-message is taken whole or not at all") {
    CHECK(ok(finish(rfc_client_final)) == rfc_server_final);
    for (std::size_t size = 0; size < rfc_client_final.size(); ++size)
        CHECK(std::holds_alternative<errc>(finish(rfc_client_final.substr(0, size))));
    std::string const text(rfc_client_final);
    CHECK(error(finish(text + ",x=y")) == errc::scram_malformed);
    CHECK(error(finish(text + ",")) == errc::scram_malformed);
    CHECK(error(finish(text + "=")) == errc::scram_malformed);
    CHECK(error(finish(std::string(8193, 'c'))) == errc::scram_too_long);
}

TEST_CASE("SCRAM: a client-final-message that differs in one place") {
    auto const with = [](std::string_view from, std::string_view to) {
        std::string text(rfc_client_final);
        return text.replace(text.find(from), from.size(), to);
    };
    CHECK(error(finish(with("p=d", "p=e"))) == errc::scram_wrong_proof);
    CHECK(error(finish(with("ndVQ=", "ndVR="))) ==
          errc::scram_malformed);  // the same bytes, otherwise spelled
    CHECK(error(finish(with("$k0", "$k1"))) == errc::scram_nonce);
    CHECK(error(finish(with("$k0", "$k"))) == errc::scram_nonce);
    CHECK(error(finish(with("biws", "eSws"))) == errc::scram_malformed);
    CHECK(error(finish(with(",p=", ",x=ext,p="))) ==
          errc::scram_wrong_proof);  // signed, so the proof is another
    // A flag changed on the way, from `y` to `n` or back, shows in `c=`.
    CHECK(error(finish(rfc_client_final, "y,,n=user,r=rOprNGfwEbeRWgbNEkqO")) == errc::scram_malformed);
}

TEST_CASE("SCRAM: what a server-first-message may be") {
    CHECK(ok(answer("r=mineyours,s=c2FsdA==,i=2")).starts_with("c=biws,r=mineyours,p="));
    CHECK(ok(answer("r=mineyours,s=c2FsdA==,i=2,x=ext")).starts_with("c=biws,r=mineyours,p="));
    CHECK(error(answer("r=mine,s=c2FsdA==,i=2")) == errc::scram_nonce);
    CHECK(error(answer("r=min,s=c2FsdA==,i=2")) == errc::scram_nonce);
    CHECK(error(answer("r=yoursmine,s=c2FsdA==,i=2")) == errc::scram_nonce);
    CHECK(error(answer("r=mineyours,s=,i=2")) == errc::scram_salt);
    CHECK(error(answer("r=mineyours,s=" + base64_encode(as_bytes(std::string(1025, 's'))) + ",i=2")) ==
          errc::scram_salt);
    for (std::string_view const count : {"0", "-1", "100001", "4294967297", "", "2x", "02"})
        CHECK(error(answer("r=mineyours,s=c2FsdA==,i=" + std::string(count))) == errc::scram_iterations);
    for (std::string_view const text :
         {"", "r", "r=", "r=mineyours", "r=mineyours,",
          "r=mineyours,s=c2FsdA==", "r=mineyours,i=2,s=c2FsdA==", "r=mineyours,s=c2FsdA=,i=2",
          "r=mineyours,s=c2Fs dA==,i=2", "m=x,r=mineyours,s=c2FsdA==,i=2", "r=mineyours,s=c2FsdA==,i=2,",
          "r=mineyours,s=c2FsdA==,i=2,x", "e=other-error"}) {
        CAPTURE(text);
        CHECK(error(answer(text)) == errc::scram_malformed);
    }
    CHECK(error(answer(std::string(8193, 'r'))) == errc::scram_too_long);
}

TEST_CASE("SCRAM: a server that does not prove itself is refused") {
    CHECK_FALSE(verify(rfc_server_final));
    CHECK_FALSE(verify(std::string(rfc_server_final) + ",x=ext"));
    CHECK(verify("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == errc::scram_server_signature);
    CHECK(verify("e=invalid-proof") == errc::scram_server_refused);
    for (std::size_t size = 0; size < rfc_server_final.size(); ++size)
        CHECK(verify(rfc_server_final.substr(0, size)) == errc::scram_malformed);
    CHECK(verify("e") == errc::scram_malformed);
    CHECK(verify("v=AAAA") == errc::scram_malformed);
    CHECK(verify(std::string(8193, 'v')) == errc::scram_too_long);
}

TEST_CASE("SCRAM: each step once and in order, and none after an error") {
    scram_server server;
    CHECK(error(server.finish(rfc_client_final)) == errc::unexpected_message);
    CHECK(error(server.start(rfc_client_first, rfc_verifier(), rfc_server_nonce)) ==
          errc::unexpected_message);

    scram_server done;
    (void)ok(done.start(rfc_client_first, rfc_verifier(), rfc_server_nonce));
    (void)ok(done.finish(rfc_client_final));
    CHECK(error(done.finish(rfc_client_final)) == errc::unexpected_message);
    CHECK_FALSE(done.succeeded());

    CHECK(error(scram_client("pw", "mine").on_server_first("r=mineyours,s=c2FsdA==,i=2")) ==
          errc::unexpected_message);
    CHECK(scram_client("pw", "mine").verify_server_final(rfc_server_final) == errc::unexpected_message);
    scram_client client("pw", "mine");
    (void)ok(client.client_first());
    CHECK(error(client.client_first()) == errc::unexpected_message);
}

TEST_CASE("SCRAM: what a client refuses to begin with") {
    CHECK(error(scram_client("pw", "").client_first()) == errc::scram_nonce);
    CHECK(error(scram_client("pw", "a,b").client_first()) == errc::scram_nonce);
    CHECK(error(scram_client(std::string(8193, 'p'), "mine").client_first()) == errc::scram_too_long);
    CHECK(ok(scram_client("pw", "mine").client_first("a,b=c")) == "n,,n=a=2Cb=3Dc,r=mine");
    CHECK(make_nonce(as_bytes("123456789012345678")) == "MTIzNDU2Nzg5MDEyMzQ1Njc4");
}

TEST_CASE("SCRAM: a thread whose first digest could not be had has the next") {
    auto const secret = as_bytes("the process's own");
    auto const salt = salt_for("nobody", secret);
    auto const verifier = verifier_of("pw");
    bool failed = false, same_salt = false, same_verifier = false;
    std::thread([&] {
        EVP_set_default_properties(nullptr, "provider=nobody");
        failed = salt_for("nobody", secret) != salt && std::holds_alternative<errc>(make_verifier("pw", verifier.salt, 2));
        EVP_set_default_properties(nullptr, "");
        same_salt = salt_for("nobody", secret) == salt;
        auto const again = make_verifier("pw", verifier.salt, 2);
        same_verifier = std::holds_alternative<scram_verifier>(again) && std::get<scram_verifier>(again) == verifier;
    }).join();
    CHECK(failed);
    CHECK(same_salt);
    CHECK(same_verifier);
}

TEST_CASE("base64: RFC 4648 section 10, and one spelling for each value") {
    std::array<std::pair<std::string_view, std::string_view>, 8> const table{{{"", ""},
                                                                              {"f", "Zg=="},
                                                                              {"fo", "Zm8="},
                                                                              {"foo", "Zm9v"},
                                                                              {"foob", "Zm9vYg=="},
                                                                              {"fooba", "Zm9vYmE="},
                                                                              {"foobar", "Zm9vYmFy"},
                                                                              {"\xff\xef\xbe", "/+++"}}};
    for (auto const& [data, text] : table) {
        CHECK(base64_encode(as_bytes(data)) == text);
        auto const decoded = base64_decode(text);
        REQUIRE(decoded);
        CHECK(as_text(*decoded) == data);
    }
    for (std::string_view const text : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "=", "==", "====",
                                        "Z===", "Zm9v\n", "Zm 9", "Zm-_", "=m9v", "Z=9v", "Zm9v===="})
        CHECK_FALSE(base64_decode(text));
    CHECK_FALSE(base64_decode(wire("Zm9\0")));
}
