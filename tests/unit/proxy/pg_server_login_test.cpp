// Logging in at a server, as far as TLS and md5 go; the rest is in the scripts and the simulation.
#include "protocol/pg/backend.hpp"
#include "protocol/pg/md5.hpp"
#include "proxy/pg_server_login_core.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull;

namespace {

using state = pg_server_login_core::state;

struct login {
    explicit login(server_tls_wish tls, server_credentials credentials = {},
                   session_default mode = session_default::as_server)
        : core("app", "shop", mode, std::move(credentials), "nonce", tls) {
        core.start(sent);
    }
    void hear(std::string_view bytes) { (void)core.on_server(pg::as_bytes(bytes), server, settings, sent); }
    std::string take() { return std::exchange(sent, {}); }

    pg_server_login_core core;
    pg_server_state server;
    setting_interner settings;
    std::string sent;
};

std::string const ssl_request("\0\0\0\x08\x04\xd2\x16\x2f", 8);

bool is_startup(std::string const& bytes) {
    return bytes.find("user") != std::string::npos;
}

}  // namespace

TEST_CASE("TLS to a server: asked for, and taken or not") {
    login plain(server_tls_wish::none);
    CHECK(is_startup(plain.take()));

    for (auto const wish : {server_tls_wish::prefer, server_tls_wish::require}) {
        login yes(wish);
        CHECK(yes.take() == ssl_request);
        yes.hear("S");
        CHECK(yes.core.where() == state::tls);
        CHECK(yes.take().empty());  // nothing in plain text
        yes.core.on_tls(false, "", yes.sent);
        CHECK(is_startup(yes.take()));
    }

    login declined(server_tls_wish::prefer);
    (void)declined.take();
    declined.hear("N");
    CHECK(is_startup(declined.take()));

    login refused(server_tls_wish::require);
    (void)refused.take();
    refused.hear("N");
    CHECK(refused.core.where() == state::failed);
    CHECK(refused.core.error().find("server does not support SSL, but SSL was required") != std::string::npos);
    CHECK(refused.take().empty());

    for (char const* const answer : {"E", "R", "X"}) {
        login odd(server_tls_wish::prefer);
        (void)odd.take();
        odd.hear(answer);
        CHECK(odd.core.where() == state::failed);
        CHECK(odd.take().empty());
    }
}

TEST_CASE("TLS to a server: what stands behind its answer in plain text is not taken for the server's") {
    login l(server_tls_wish::require);
    (void)l.take();
    l.hear(std::string("SR\0\0\0\x08\0\0\0\0", 10));
    CHECK(l.core.where() == state::failed);
    CHECK(l.core.error().find("received unencrypted data after SSL response") != std::string::npos);
    CHECK(l.take().empty());
}

TEST_CASE("TLS to a server: direct, and only with ALPN") {
    login l(server_tls_wish::direct);
    CHECK(l.take().empty());
    CHECK(l.core.where() == state::tls);
    l.core.on_tls(true, "", l.sent);
    CHECK(is_startup(l.take()));
    login without(server_tls_wish::direct);
    without.core.on_tls(false, "", without.sent);
    CHECK(without.core.where() == state::failed);
    CHECK(without.take().empty());
}

TEST_CASE("md5 at a server: with the password, with its hash, and with neither") {
    std::string request;
    pg::write_authentication_md5_password(request, pg::as_bytes("\1\2\3\4"));
    std::string const hash = *pg::md5_hash("secret", "app");
    std::string const answer = *pg::md5_answer(hash, pg::as_bytes("\1\2\3\4"));
    server_credentials by_password;
    by_password.password = "secret";
    server_credentials by_hash;
    by_hash.md5_hash = hash;
    for (auto const& credentials : {by_password, by_hash}) {
        login l(server_tls_wish::none, credentials);
        (void)l.take();
        l.hear(request);
        CHECK(l.take().find(answer) != std::string::npos);
    }
    login none(server_tls_wish::none);
    (void)none.take();
    none.hear(request);
    CHECK(none.core.where() == state::failed);
}

TEST_CASE("a session says how it wants to begin only where that is not the server's business") {
    auto const said = [](session_default mode) { return login(server_tls_wish::none, {}, mode).take(); };
    CHECK(said(session_default::as_server).find("default_transaction_read_only") == std::string::npos);
    CHECK(said(session_default::read_only).find("-c default_transaction_read_only=on") != std::string::npos);
    CHECK(said(session_default::read_write).find("-c default_transaction_read_only=off") != std::string::npos);
}
