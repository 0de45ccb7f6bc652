#include "config/hba.hpp"

#include "config/network.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull::config;

namespace {

hba_rule one(std::string_view line) {
    auto const parsed = parse_hba(line);
    REQUIRE(parsed.problems.empty());
    REQUIRE(parsed.rules.size() == 1);
    return parsed.rules.front();
}

std::string problem(std::string_view line) {
    auto const parsed = parse_hba(line);
    CHECK(parsed.rules.empty());
    REQUIRE(parsed.problems.size() == 1);
    CHECK(!parsed.problems.front().fix.empty());
    return parsed.problems.front().message;
}

std::vector<hba_name> names(std::initializer_list<char const*> list) {
    std::vector<hba_name> out;
    for (char const* name : list) out.push_back({name, false});
    return out;
}

}  // namespace

TEST_CASE("HBA: a line becomes a rule") {
    auto const rule =
        one("hostssl shop,held  app, other\t10.0.0.0/8 scram-sha-256 clientcert=verify-ca # why");
    CHECK(rule.connection == hba_connection::hostssl);
    CHECK(rule.databases == names({"shop", "held"}));
    CHECK(rule.users == names({"app", "other"}));
    CHECK(rule.network == parse_network("10.0.0.0/8"));
    CHECK(rule.method == auth_method::scram_sha_256);
    CHECK(rule.certificate == client_certificate::verify_ca);

    CHECK(one("local all all peer").method == auth_method::peer);
    CHECK(!one("host all all all trust").network);
    CHECK(one("host all all 10.1.2.3 255.255.0.0 md5").network->contains(*parse_address("10.1.9.9")));
    CHECK(one("host all all ::1/128 reject").network->contains(*parse_address("::1")));
    CHECK(one("hostssl all all all cert").certificate == client_certificate::verify_full);
}

TEST_CASE("HBA: quotes take their meaning from keywords") {
    auto const rule = one("local \"all\",\"a b\",\"x\"\"y\" \"#u\" trust");
    REQUIRE(rule.databases.size() == 3);
    CHECK(rule.databases[0] == hba_name{"all", true});
    CHECK(rule.databases[1] == hba_name{"a b", true});
    CHECK(rule.databases[2] == hba_name{"x\"y", true});
    CHECK(rule.users[0] == hba_name{"#u", true});
}

TEST_CASE("HBA: comments, empty lines, lines that go on, and the order of rules") {
    auto const parsed =
        parse_hba("# nothing\n\n  \t\r\nlocal all \\\n  all trust\r\nhost all all all reject");
    CHECK(parsed.problems.empty());
    REQUIRE(parsed.rules.size() == 2);
    CHECK(parsed.rules[0].method == auth_method::trust);
    CHECK(parsed.rules[1].method == auth_method::reject);
    auto const wrong = parse_hba("local all all trust\n\nlocal all \\\nall bogus\nlocal\n");
    REQUIRE(wrong.problems.size() == 2);
    CHECK(wrong.problems[0].line == 3);
    CHECK(wrong.problems[1].line == 5);
}

TEST_CASE("HBA: what is not understood is refused, never skipped") {
    CHECK(problem("hostgssenc all all all trust") == "\"hostgssenc\" is no kind of connection");
    CHECK(problem("include other.conf") == "\"include\" is no kind of connection");
    CHECK(problem("local all") == "the line ends too early");
    CHECK(problem("local all all") == "no method");
    CHECK(problem("local all +admins trust").find("members of a role") != std::string::npos);
    CHECK(problem("local samerole all trust").find("members of a role") != std::string::npos);
    CHECK(problem("local /re all trust").find("regular expression") != std::string::npos);
    CHECK(problem("local @file all trust").find("file of names") != std::string::npos);
    CHECK(problem("host all all samenet trust") == "\"samenet\" is not supported");
    CHECK(problem("host all all db.example trust").find("no address") != std::string::npos);
    CHECK(problem("host all all 10.0.0.0/33 trust") == "\"10.0.0.0/33\" is no network");
    CHECK(problem("host all all 10.0.0.0 trust") == "\"10.0.0.0\" has neither prefix nor mask");
    CHECK(problem("host all all 10.0.0.0 ffff:: trust") == "\"10.0.0.0\" has neither prefix nor mask");
    CHECK(problem("host all all all ldap ldapserver=x") == "the method \"ldap\" is not supported");
    CHECK(problem("host all all all peer") == "peer authentication is only supported on local sockets");
    CHECK(problem("host all all all cert") == "cert authentication is only supported on hostssl connections");
    CHECK(problem("host all all all trust clientcert=verify-ca") ==
          "clientcert can only be configured for hostssl rows");
    CHECK(problem("hostssl all all all cert map=x").find("option") != std::string::npos);
    CHECK(problem("hostssl all all all cert clientcert=verify-ca").find("not possible") != std::string::npos);
    CHECK(problem("local all \"all trust") == "no method");
    CHECK(problem("local all all \"trust") == "a quote that is not closed");
    CHECK(problem("local all \"\" trust") == "an empty name");
}

TEST_CASE("HBA: bounds") {
    CHECK(problem(std::string(most_hba_bytes + 1, '#')).find("larger") != std::string::npos);
    std::string many;
    for (std::size_t i = 0; i <= most_hba_rules; ++i) many += "local all all trust\n";
    auto const parsed = parse_hba(many);
    CHECK(parsed.rules.size() == most_hba_rules);
    CHECK(parsed.problems.size() == 1);
    std::string list = "local a";
    for (std::size_t i = 0; i < most_hba_names; ++i) list += ",a";
    CHECK(problem(list + " all trust").find("names in a list") != std::string::npos);
}

TEST_CASE("addresses and networks") {
    for (char const* good : {"0.0.0.0", "255.255.255.255", "::", "::1", "1::", "2001:db8::8:800:200c:417a",
                             "1:2:3:4:5:6:7:8", "::ffff:192.0.2.1", "1:2:3:4:5:6:1.2.3.4"}) {
        CAPTURE(good);
        CHECK(parse_address(good));
    }
    for (char const* bad :
         {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", ":", ":::", "1:2:3:4:5:6:7",
          "1:2:3:4:5:6:7:8:9", "12345::", "::1::", "g::", "1:2:3:4:5:6:7:1.2.3.4", "fe80::1%eth0",
          "1:2:3:4:5:6:7:", "::1.2.3", "-1.2.3.4"}) {
        CAPTURE(bad);
        CHECK(!parse_address(bad));
    }
    CHECK(parse_address("::ffff:1.2.3.4") == parse_address("::ffff:102:304"));
    CHECK(parse_peer_address("::ffff:1.2.3.4") == parse_address("1.2.3.4"));
    CHECK(parse_peer_address("0:0:0:0:0:ffff:102:304") == parse_address("1.2.3.4"));

    auto const net = *parse_network("10.32.0.0/11");
    CHECK(net.contains(*parse_address("10.63.255.255")));
    CHECK(!net.contains(*parse_address("10.64.0.0")));
    CHECK(!net.contains(*parse_address("::a20:0")));
    CHECK(parse_network("0.0.0.0/0")->contains(*parse_address("203.0.113.9")));
    CHECK(parse_network("1.2.3.4")->contains(*parse_address("1.2.3.4")));
    CHECK(!parse_network("1.2.3.4")->contains(*parse_address("1.2.3.5")));
    CHECK(parse_network("2001:db8::/33")->contains(*parse_address("2001:db8:7fff::")));
    CHECK(!parse_network("2001:db8::/33")->contains(*parse_address("2001:db8:8000::")));
    for (char const* bad : {"10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/ 8", "::/129", "/8"}) {
        CAPTURE(bad);
        CHECK(!parse_network(bad));
    }
}
