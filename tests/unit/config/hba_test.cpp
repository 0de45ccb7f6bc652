#include "config/hba.hpp"

#include "config/name_pattern.hpp"
#include "config/network.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <unistd.h>

using namespace lull::config;

namespace {

/// Of this thread: whoever else uses the machine does not count.
double cpu_seconds(auto const& work) {
    auto const now = [] {
        timespec at{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
        return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
    };
    double const begun = now();
    work();
    return now() - begun;
}

/// A disk of a few files.
class few_files final : public hba_files {
  public:
    std::map<std::string, std::string> content;
    int reads = 0;

    std::variant<std::string, file_error> read(std::string const& path) override {
        ++reads;
        auto const at = content.find(path);
        if (at == content.end()) return file_error{"nothing is there", "write it", true};
        return at->second;
    }
    std::variant<std::vector<std::string>, file_error> list(std::string const& folder) override {
        std::vector<std::string> out;
        for (auto const& [path, text] : content)
            if (path.starts_with(folder + "/")) out.push_back(path);
        if (out.empty()) return file_error{"no such folder", "make it", true};
        return out;
    }
};

hba_text parse_hba(std::string_view text) {
    few_files none;
    hba_splitter splitter(none);
    return lull::config::parse_hba(text, "/etc/hba", splitter);
}

hba_text parse_with(std::map<std::string, std::string> content, std::string_view text) {
    few_files files;
    files.content = std::move(content);
    hba_splitter splitter(files);
    return lull::config::parse_hba(text, "/etc/hba", splitter);
}

std::string all_of(hba_text const& t) {
    std::string out;
    for (hba_problem const& p : t.problems)
        out += p.file + ":" + std::to_string(p.line) + ":" + std::to_string(p.column) + ": " + p.message + "\n";
    return out;
}

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
    CHECK(wrong.problems[0].line == 4);  // where the word stands
    CHECK(wrong.problems[1].line == 5);
}

TEST_CASE("HBA: a problem has the line and the column of its word") {
    CHECK(all_of(parse_hba("local all all trust\nlocal  all \\\n  all   ldap")) ==
          "/etc/hba:3:9: the method \"ldap\" is not supported\n");
    CHECK(all_of(parse_hba("host app, +ops all all md5")).empty());
    CHECK(all_of(parse_hba("host all app, +ops all md5")) ==
          "/etc/hba:1:15: \"+ops\" means the members of a role, which only the server knows\n");
    CHECK(all_of(parse_hba("local all")) == "/etc/hba:1:7: the line ends too early\n");
}

TEST_CASE("HBA: words that have no meaning in quotes, and some that PostgreSQL takes for others") {
    CHECK(one("host all all samehost trust").near == hba_near::same_host);
    CHECK(one("host all all samenet trust").near == hba_near::same_net);
    CHECK(one("hostnogssenc all all all trust").connection == hba_connection::host);
    CHECK(one("local all \"+ops\" trust").users[0] == hba_name{"+ops", true});
    CHECK(one("local all \"@ops\" trust").users[0] == hba_name{"@ops", true});
    CHECK(one("local all @ trust").users[0] == hba_name{"@", false});
}

TEST_CASE("HBA: files that are included, and files of names") {
    auto const parsed = parse_with(
        {{"/etc/more/first", "local all all peer\ninclude second\n"},
         {"/etc/more/second", "host all @../names all reject\n"},
         {"/etc/names", "a, b # and\nc\t\"all\" @/names2"},
         {"/names2", "\nd\n"},
         {"/etc/d/1.conf", "host one all all md5"},
         {"/etc/d/2.conf", "host two all all md5"}},
        "include more/first\ninclude_if_exists nothing\ninclude_dir \"d\"\nlocal all e,@names,f trust");
    CHECK(all_of(parsed) == "");
    REQUIRE(parsed.rules.size() == 5);
    CHECK(parsed.rules[0].method == auth_method::peer);
    std::vector<hba_name> wanted = names({"a", "b", "c", "all", "d"});
    wanted[3].quoted = true;
    CHECK(parsed.rules[1].users == wanted);
    CHECK(parsed.rules[2].databases == names({"one"}));
    CHECK(parsed.rules[3].databases == names({"two"}));
    CHECK(parsed.rules[4].users.size() == 7);
}

TEST_CASE("HBA: what is wrong with what is included is told where it stands") {
    CHECK(all_of(parse_with({{"/etc/sub/a", "\nlocal all all bogus"}}, "\ninclude sub/a")) ==
          "/etc/sub/a:2:15: the method \"bogus\" is not supported\n");
    CHECK(all_of(parse_with({{"/etc/names", "a\n +ops"}}, "local all @names trust")) ==
          "/etc/names:2:2: \"+ops\" means the members of a role, which only the server knows\n");
    CHECK(all_of(parse_hba("include gone")) == "/etc/hba:1:9: /etc/gone: nothing is there\n");
    CHECK(all_of(parse_hba("local all a,@gone trust")) == "/etc/hba:1:13: /etc/gone: nothing is there\n");
    CHECK(all_of(parse_hba("include_dir gone")) == "/etc/hba:1:13: /etc/gone: no such folder\n");
    for (char const* word : {"include", "include_if_exists", "include_dir"}) {
        CAPTURE(word);
        std::string const column = std::to_string(std::string_view(word).size() + 2);
        CHECK(all_of(parse_with({{"/etc/other.conf", "local all all trust"}}, std::string(word) + " \"\"")) ==
              "/etc/hba:1:" + column + ": an empty name\n");
    }
    CHECK(all_of(parse_hba("include one two")) == "/etc/hba:1:1: include takes one file\n");
    CHECK(all_of(parse_with({{"/etc/none", "# nobody"}}, "local all @none trust")) ==
          "/etc/hba:1:11: the file has no names in it\n");
    CHECK(all_of(parse_with({{"/etc/self", "include self\nlocal all all trust"}}, "include self")) ==
          "/etc/self:1:9: /etc/self: maximum nesting depth exceeded\n");
    std::string many;
    for (int i = 0; i < 100; ++i) many += "include self\n";
    CHECK(parse_with({{"/etc/self", many}}, "include self").problems.size() == most_hba_problems);
    many.clear();
    for (int i = 0; i < 1100; ++i) many += "include_if_exists " + std::to_string(i) + "\n";
    CHECK(all_of(parse_hba(many)) == "/etc/hba:1001:19: more than 1000 files are included\n");
    few_files files;
    files.content = {{"/etc/names", "app"}};
    many.clear();
    for (int i = 0; i < 1100; ++i) many += "host all @names all md5\ninclude_if_exists none\n";
    hba_splitter splitter(files);
    auto const parsed = lull::config::parse_hba(many, "/etc/hba", splitter);
    CHECK(all_of(parsed) == "");
    CHECK(parsed.rules.size() == 1100);
    auto const again = lull::config::parse_hba("host all @names all bogus\nhost all @names all md5", "/etc/hba", splitter);
    CHECK(again.problems.size() == 1);
    CHECK(again.rules.size() == 1);
    CHECK(files.reads == 2);  // once for each file, whatever becomes of it meanwhile
    // Files with nothing in them take time too.
    many.clear();
    for (int i = 0; i < 1000; ++i) many += "include b\n";
    std::string within = many;
    std::replace(within.begin(), within.end(), 'b', 'c');
    CHECK(all_of(parse_with({{"/etc/b", within}, {"/etc/c", ""}}, many)) ==
          "/etc/b:901:9: files are included more than 100000 times\n");
}

TEST_CASE("HBA: regular expressions are PostgreSQL's, or refused by name") {
    auto const fits = [](std::string const& pattern, std::string_view name) {
        auto const made = compile_pattern(pattern);
        if (auto const* wrong = std::get_if<pattern_error>(&made)) FAIL(pattern << ": " << wrong->message);
        return std::get<std::shared_ptr<name_pattern const>>(made)->matches(name);
    };
    CHECK(fits("shop", "the_shop_2"));
    CHECK(!fits("^shop", "the_shop"));
    CHECK(fits("^shop(_[0-9]{1,3})?$", "shop_12"));
    CHECK(!fits("^shop(_[0-9]{1,3})?$", "shop_1234"));
    CHECK(fits("^(a|b)\\w+$", "b_9"));
    CHECK(fits("^\\d\\.\\s$", "1. "));
    CHECK(!fits("^\\d\\.$", "1x"));
    CHECK(fits("^[]^-]+$", "^]-"));
    CHECK(fits("^[[:alpha:]_]+$", "a_B"));
    CHECK(fits("^a{2,}$", "aaa"));
    CHECK(fits("^\xc3\xa9$", "\xc3\xa9"));
    CHECK(fits("^..$", "\xc3\xa9"));  // bytes, as PostgreSQL before it knows a database
    CHECK(fits("^\\<a\\>\\`\\'$", "<a>`'"));  // no anchors, as in other kinds
    CHECK(!fits("(^a){2}", "aa"));
    CHECK(fits("(^a){1,2}$", "a"));
    CHECK(fits("(|a)*$", ""));
    CHECK(fits("^[^x]..$", "\n\n\n"));
    CHECK(!fits("a$", "a\n"));
    CHECK(fits("^[%--a-c-]+$", "&-b"));
    CHECK(fits("^[[:word:][:punct:]-]+$", "a-_~"));
    CHECK(fits("^a{02}b{0}}]$", "aa}]"));
    CHECK(fits("^[[:space:]]+\\s$", "\v\v"));
    for (char const* bad : {"", "(", ")", "a)", "[", "[a", "[[:alpha:]", "*a", "(+a)", "a|*", "^*", "a**", "a+?", "a??", "a{1}{2}",
                            "a{", "a{x}", "a{,3}", "a{3,1}", "a{256}", "(?i)a", "\\1", "\\y", "\\", "[\\d]", "[[.a.]]", "[[=a=]]",
                            "***=a", "((a{255}){255}){255}", "[[:nothing:]]",
                            "(((a?){20}){20}){20}", "[[:^alpha:]]", "[[:<:]]", "[a-c-e]", "[[:alpha:]-z]", "[c-a]", "[a-[:alpha:]]", "[a-\\d]",
                            "[a-", "[-", "[^]", "a{1", "a{1,", "a{1,x}", "\\m", "\\A", "\\Z", "\\b", "\\pN", "\\Q", "^{2}", "$+",
                            "[^[:cntrl:][:print:]\x80-\xff][a]"}) {
        CAPTURE(bad);
        auto const made = compile_pattern(bad);
        auto const* wrong = std::get_if<pattern_error>(&made);
        REQUIRE(wrong);
        CHECK((!wrong->message.empty() && !wrong->fix.empty()));
    }
    auto const rule = one("host /^shop_ \"/^(a|b),c$\",d all md5");
    CHECK(rule.databases[0].pattern->matches("shop_1"));
    CHECK(rule.users[0].pattern->matches("a,c"));
    CHECK(!rule.users[1].pattern);
    CHECK(rule == one("host /^shop_ \"/^(a|b),c$\",d all md5"));  // a reload sees no change
    CHECK(all_of(parse_hba("host a,/b( all all md5")) == "/etc/hba:1:8: \"/b(\": a parenthesis that is not closed\n");
}

TEST_CASE("HBA: no name is dear to match, and no pattern grows with the names that it sees") {
    auto const resident = [] {
        std::size_t pages = 0, ours = 0;
        std::ifstream("/proc/self/statm") >> pages >> ours;
        return ours * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    };
    std::mt19937 random(1);
    [[maybe_unused]] auto const before = resident();
    std::vector<std::shared_ptr<name_pattern const>> made;
    for (char const* text : {"^.*a.{20}$", "(a|b)*a(a|b){18}$", "(.?.?.?.?.?.?.?.?){30}x", "((a*)*)*b"}) {
        auto one = compile_pattern(text);
        REQUIRE(std::holds_alternative<std::shared_ptr<name_pattern const>>(one));
        made.push_back(std::get<std::shared_ptr<name_pattern const>>(std::move(one)));
    }
    double const seconds = cpu_seconds([&] {
        for (int i = 0; i < 1000; ++i) {
            std::string name;
            while (name.size() < 63) name += random() % 2 == 0 ? 'a' : 'b';
            for (auto const& pattern : made) (void)pattern->matches(name);
        }
    });
    // Some milliseconds and hundreds of kilobytes; what keeps all that it has seen takes tens of megabytes.
    CHECK(seconds < 5);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they hold on to what is freed
    CHECK(resident() < before + 16 * 1024 * 1024);
#endif
}

TEST_CASE("HBA: what is not understood is refused, never skipped") {
    CHECK(problem("hostgssenc all all all trust").find("GSSAPI is not supported") != std::string::npos);
    CHECK(problem("hosts all all all trust") == "\"hosts\" is no kind of connection");
    CHECK(problem("local all") == "the line ends too early");
    CHECK(problem("local all all") == "no method");
    CHECK(problem("local all +admins trust").find("members of a role") != std::string::npos);
    CHECK(problem("local samerole all trust").find("members of a role") != std::string::npos);
    CHECK(problem("host all all \"samenet\" trust").find("no address") != std::string::npos);
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
    CHECK(problem("local all \"all trust") == "a quote that is not closed");
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
    // A line that goes on 250'000 times, with a name on each.
    std::string on = "local all ";
    for (int i = 0; i < 250'000; ++i) on += "a,\\\n";
    on += "@gone trust";
    CHECK(cpu_seconds([&] { CHECK(all_of(parse_hba(on)) == "/etc/hba:250001:1: /etc/gone: nothing is there\n"); }) < 3);
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
