#include "protocol/pg/saslprep.hpp"
#include "protocol/pg/scram.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull;
using namespace lull::pg;

namespace {

/// What is hashed.
std::string prepared(std::string_view password) { return saslprep(password).value_or(std::string(password)); }

bool stays(std::string_view password) { return !saslprep(password); }

scram_key stored_key(std::string_view password) {
    return std::get<scram_verifier>(make_verifier(password, as_bytes("salt"), 2)).stored_key;
}

}  // namespace

TEST_CASE("SASLprep: the examples of RFC 4013, with PostgreSQL's answers") {
    CHECK(prepared("I\u00adX") == "IX");
    CHECK(prepared("user") == "user");
    CHECK(prepared("USER") == "USER");
    CHECK(prepared("\u00aa") == "a");
    CHECK(prepared("\u2168") == "IX");
    CHECK(stays("\x07"));
    CHECK(stays("\u06271"));
}

TEST_CASE("SASLprep: ASCII is as it is, also what the RFC prohibits") {
    for (std::string_view const password : {"", " ", "pencil", "foo\x07" "bar", "\x7f", "a\tb\n"}) CHECK(stays(password));
}

TEST_CASE("SASLprep: what looks alike becomes the same") {
    CHECK(prepared("e\u0301") == "\u00e9");
    CHECK(prepared("\u00e9") == "\u00e9");
    CHECK(prepared("\uff50\uff57") == "pw");
    CHECK(prepared("\ufb01ne") == "fine");
    CHECK(prepared("a\u00a0b") == "a b");
    CHECK(prepared("a\u3000b") == "a b");
    CHECK(prepared("a\u200bb") == "a b");  // also mapped to nothing; PostgreSQL looks for spaces first
    CHECK(prepared("a\u200db\u2060\ufeff") == "ab");
    CHECK(prepared("\U0001d400") == "A");
    CHECK(prepared("\U00020000") == "\U00020000");
}

TEST_CASE("SASLprep: what becomes longer") {
    std::string const one = prepared("\ufdfa");
    CHECK(one.size() == 33);
    std::string all;
    std::string wanted;
    while (all.size() + 3 <= max_saslprep_bytes) {
        all += "\ufdfa";
        wanted += one;
    }
    CHECK(prepared(all) == wanted);
    CHECK(stays(all + "\ufdfa"));
}

TEST_CASE("SASLprep: where it fails the bytes stay") {
    CHECK(stays("\u00e9\x07"));         // a control character, in company
    CHECK(stays("\u00aa\x7f"));
    CHECK(stays("\u00aa\ue000"));       // private use
    CHECK(stays("\u00aa\ufffd"));       // inappropriate in plain text
    CHECK(stays("\u00aa\u200e"));       // changes the direction of writing
    CHECK(stays("\u00aa\U000e0041"));   // a tag
    CHECK(stays("\u00aa\U0001fffe"));   // no character
    CHECK(stays("\u00aa\u0221"));       // assigned later than Unicode 3.2
    CHECK(stays("\u00aa\U0001f600"));
    CHECK(stays("\u00ad"));             // nothing would be left
    CHECK(stays("foo\u0627" "1bar"));   // both directions
    CHECK(stays("\u06270"));
    CHECK(prepared("\u0627\u0031\u0628\u00ad") == "\u0627\u0031\u0628");
}

TEST_CASE("SASLprep: what is not UTF-8 stays") {
    for (std::string_view const bad : {"\xff", "\xaa", "pass\xe9", "\xc2", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                       "\xc2\xaa\xe2\x85", "\xf8\x88\x80\x80\x80"})
        CHECK(stays(bad));
}

TEST_CASE("SCRAM: verifiers and proofs are of the prepared password") {
    CHECK(stored_key("I\u00adX") == stored_key("IX"));
    CHECK(stored_key("\u2168") == stored_key("IX"));
    CHECK(stored_key("ix") != stored_key("IX"));
    CHECK(stored_key("foo\u0627" "1bar") != stored_key("foobar"));
    CHECK(stored_key("pass\xe9") != stored_key("pass"));

    scram_client client("\u2168", "mine");
    scram_server server;
    auto const verifier = std::get<scram_verifier>(make_verifier("I\u00adX", as_bytes("salt"), 2));
    auto const heard = [](scram_result const& result) { return std::get<std::string>(result); };
    auto const server_first = heard(server.start(heard(client.client_first()), verifier, "server"));
    auto const server_final = heard(server.finish(heard(client.on_server_first(server_first))));
    CHECK_FALSE(client.verify_server_final(server_final));
}

TEST_CASE("SCRAM: the bound of a password is that of what came") {
    std::string grows;
    while (grows.size() + 3 <= max_saslprep_bytes) grows += "\ufdfa";
    CHECK(prepared(grows).size() > max_password_bytes);
    CHECK(std::holds_alternative<scram_verifier>(make_verifier(grows, as_bytes("salt"), 1)));
}
