// The literal-free key, the cache behind it, and who may not share a verdict.
#include "routing/sql_classifier.hpp"
#include "routing/sql_normalizer.hpp"
#include "routing/verdict_cache.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

using namespace lull::routing;

namespace {

using a = lull::routing::access;

// The key, or "-" where there is none. Placeholders are shown as # and @.
std::string key_of(std::string const& sql) {
    std::vector<char> buffer(sql.size());
    scanned const s = scan_sql(sql, buffer);
    if (s.form == key_form::none) return "-";
    std::string key(buffer.data(), s.key_bytes);
    if (s.form == key_form::same) CHECK(key == sql);
    for (char& c : key) c = c == '\x01' ? '#' : c == '\x02' ? '@' : c;
    return key;
}

std::shared_ptr<operation const> some(a strictest) {
    operation op;
    op.access = strictest;
    op.statements.emplace_back();
    return std::make_shared<operation const>(op);
}

}  // namespace

TEST_CASE("sixteen bytes at once are read as one by one") {
    // Shorter than a block, a text is read byte by byte; with blanks behind it, as a block.
    std::string const bytes = "aeEz_AZ[@`{\x80\xff" "019/:$$  \t\n\v\f\r,;()'.=";
    std::string const blanks(32, ' ');
    std::mt19937 random(1);
    for (int i = 0; i < 200'000; ++i) {
        std::string text(1 + random() % 15, ' ');
        for (char& c : text) c = bytes[random() % bytes.size()];
        if (std::ranges::count(text, '\'') % 2 != 0) continue;  // what is not ended reads on
        std::string const apart = key_of(text);
        std::string const at_once = key_of(text + blanks);
        INFO(text);
        CHECK(at_once == (apart == "-" ? apart : apart + blanks));
    }
}

TEST_CASE("constants become placeholders; anything doubtful has no key") {
    CHECK(key_of("select 1, 2.5, 'a', x1, $1 from t2") == "select #, #, @, x1, $1 from t2");
    CHECK(key_of("select 'it''s', \"a'b\" , ''") == "select @@, \"a'b\" , @");
    CHECK(key_of("select -1+2") == "select -#+#");
    CHECK(key_of("select 1 /* trace='x' */") == "select #  ");
    CHECK(key_of("/* a */select/**/1") == " select #");
    CHECK(key_of("select a[1:2]") == "select a[#:#]");
    CHECK(key_of("select caf\xc3\xa9"
                 "1 from t") ==
          "select caf\xc3\xa9"
          "1 from t");
    for (char const* sql : {"select e'a'",
                            "select E'a'",
                            "select b'1'",
                            "select x'1'",
                            "select n'a'",
                            "select U&'a'",
                            "select U&\"a\"",
                            "select U&\"a\" uescape '!'",
                            "select $$a$$",
                            "select $a$b$a$",
                            "select $1a",
                            "select 1e5",
                            "select 1from t",
                            "select .5",
                            "select t.5",
                            "select 1.",
                            "select 1..2",
                            "select 1$2",
                            "select 0x1f",
                            "select 1_000",
                            "select 1 -- x",
                            "select 1 /* /* */ */",
                            "select 'a",
                            "select \"a",
                            "select /* a",
                            "select \x01",
                            "select \x02",
                            "select \"a\x01\"",
                            "select 1 /*lull: primary*/",
                            "select 1 /* lull:primary */",
                            "select 'a' 'b\x7f'\x7f"})
        CHECK_MESSAGE(key_of(sql) == "-", sql);
    std::vector<char> small(4);
    CHECK(scan_sql("select 1", small).form == key_form::none);
    std::vector<char> large(64);
    CHECK(scan_sql("select 1 /* lull:x */", large).hinted);
}

TEST_CASE("the last operator of a run that a comment began is of that run") {
    std::string const sql = "select 1 /" + std::string(70, '*') + "/+ 2";
    std::vector<char> buffer(sql.size());
    CHECK(scan_sql(sql, buffer).dangerous);
}

TEST_CASE("texts that differ in constants share one parse") {
    sql_classifier classifier;
    for (int i = 0; i < 1000; ++i) {
        auto const& op =
            classifier.classify("SELECT abalance FROM accounts WHERE aid = " + std::to_string(i) +
                                " AND b = 'x" + std::to_string(i) + "';");
        CHECK(op->access == a::read);
        CHECK(op->statements[0].length == 0);
    }
    CHECK(classifier.stats().parses == 1);
    CHECK(classifier.stats().normalised_hits == 999);
    CHECK(classifier.cached() == 1);
}

TEST_CASE("a text that comes again with the same constants gets an exact entry") {
    sql_classifier classifier;
    for (int i = 0; i < 10; ++i) (void)classifier.classify("select a from t limit 20");
    CHECK(classifier.stats().parses == 1);
    CHECK(classifier.stats().normalised_hits == 2);
    CHECK(classifier.stats().exact_hits == 7);
}

TEST_CASE("where constants are new each time, texts that are known as they are, are still found") {
    sql_classifier classifier;
    auto const several = [&](int from) {
        for (int i = from; i < from + 200; ++i) classifier.classify("SELECT a FROM t WHERE b = " + std::to_string(i));
    };
    several(0);
    CHECK(classifier.stats().parses == 1);
    for (int i = 0; i < 3; ++i) {
        classifier.classify("SET work_mem = '4MB'");  // its constant matters: no form of it is kept
        classifier.classify("SELECT a FROM t");       // has none
        several(200 * (i + 1));
    }
    CHECK(classifier.stats().parses == 3);
    CHECK(classifier.stats().exact_hits >= 4);
}

TEST_CASE("what fits the shape of a key would have that key") {
    std::vector<char> buffer(4096);
    auto const key_of = [&](std::string_view sql) -> std::string {
        scanned const scan = scan_sql(sql, buffer);
        return scan.form == key_form::changed && !scan.dangerous ? std::string(buffer.data(), scan.key_bytes) : "no key";
    };
    std::vector<std::string> const texts = {
        "select a from t where b = 1", "select a from t where b = 22.5 and c='x'", "select -1 + 2 - 3",
        "select '' '', 'x''y', \"a\"\"1\" from t limit 10", "update t set a = 1, b = 'it' where c in (1, 2, 3)",
        "select a/* 7 */from t where b = 1", "select 1.5, .5, 1. , 1e5, 1from t", "insert into t values (1,'a'),(2,'b')",
        "select 1<2, 1 <-2, 1--x", "select \"1\", a1, $1, 1", "select e'x', 1", "select 1 /2", "select 1'a'"};
    std::vector<std::string> const pieces = {"1", "07", "3.25", "1.", ".5", "'", "''", "'a'", "e", "$", "/*", "*/", "--", "-", " ", "\n", "\"", "x", std::string(1, '\0'), "\x01", "\x02"};
    std::mt19937 random(7);
    auto const one_of = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
    std::size_t fitting = 0;
    for (std::string const& text : texts) {
        std::string const key = key_of(text);
        if (key == "no key") continue;
        key_shape const shape(key);
        CHECK(shape.fits(text) == (text.find("/*") == std::string::npos));
        for (int i = 0; i < 20000; ++i) {
            // Its constants are others, and something may have come in beside them.
            std::string other;
            for (char c : key) {
                if (c == number_mark)
                    other += pieces[one_of(one_of(4) == 0 ? pieces.size() : 3)];
                else if (c == string_mark)
                    other += one_of(4) == 0 ? pieces[one_of(pieces.size())] : "'" + pieces[one_of(5)] + "'";
                else
                    other += c;
            }
            if (one_of(3) == 0) other.insert(one_of(other.size() + 1), pieces[one_of(pieces.size())]);
            if (!shape.fits(other)) continue;
            ++fitting;
            CHECK_MESSAGE(key_of(other) == key, other);
        }
    }
    CHECK(fitting > 50000);
}

TEST_CASE("a text is found by the shape of a recent one, among those that begin as it does") {
    sql_classifier classifier;
    auto const reads = [&](int i) { return "select one, two, three, four, five, six from t where a = " + std::to_string(i); };
    auto const writes = [&](int i) { return "select one, two, three, four, five, six from t where a = " + std::to_string(i) + " for update"; };
    for (int i = 0; i < 100; ++i) {
        CHECK(classifier.classify(reads(i))->access == a::read);
        CHECK(classifier.classify(writes(i))->access == a::write);
        CHECK(classifier.classify(reads(i) + "; drop table t")->access == a::write);
        CHECK(classifier.classify(reads(i) + "'")->why == why::syntax_error);
    }
    CHECK(classifier.stats().parses == 2 + 200);
    for (std::string_view value : {"x", "y"}) (void)classifier.classify("select one, two, three from t where a = '" + std::string(value) + "'");
    std::string cut = "select one, two, three from t where a = 'z";
    cut += '\0';
    CHECK(classifier.classify(cut + "'")->why == why::syntax_error);
}

TEST_CASE("of shapes that begin alike four are known at a time, and a new one comes in after a while") {
    recent_shapes shapes;
    auto const made = std::make_shared<operation const>();
    auto const text = [](int columns) {
        std::string sql = "update accounts set balance = balance + 1";
        for (int i = 0; i < columns; ++i) sql += ", c = 2";
        return sql;
    };
    auto const remember = [&](std::string const& sql) {
        std::vector<char> key(4096);
        scanned const scan = scan_sql(sql, key);
        REQUIRE(scan.form == key_form::changed);
        shapes.remember(sql, {key.data(), scan.key_bytes}, made);
    };
    for (int i = 0; i < 4; ++i) remember(text(i));
    for (int i = 0; i < 4; ++i) CHECK(shapes.find(text(i)));
    CHECK(!shapes.find(text(4)));
    for (int times = 0; times < 8; ++times) remember(text(4));
    CHECK(shapes.find(text(4)));
}

TEST_CASE("where constants decide, nothing is shared") {
    sql_classifier classifier;
    auto set = [&](char const* sql) { return *classifier.classify(sql); };
    CHECK(set("set a.b = 'x'").statements[0].value == "x");
    CHECK(set("set a.b = 'y'").statements[0].value == "y");
    CHECK(set("select set_config('a.b', 'x', true)").statements[0].name == "a.b");
    CHECK(set("select set_config('transaction_read_only', 'off', true)").statements[0].kind ==
          statement_kind::set_transaction);
    CHECK(set("select f(), set_config('a', 'b', '0')").statements[0].pins);
    CHECK_FALSE(set("select f(), set_config('a', 'b', '1')").statements[0].pins);
    CHECK(set("explain (analyze 0) delete from t").access == a::unknown);
    CHECK(set("explain (analyze 1) delete from t").access == a::write);
    CHECK(set("prepare transaction 'a'").statements[0].name == "a");
    CHECK(set("prepare transaction 'b'").statements[0].name == "b");
    CHECK(set("select U&\"n!0065xtval\"  uescape '!' ('s')").access == a::write);
    CHECK(set("select U&\"n!0065xtval\"  uescape '?' ('s')").access == a::unknown);
    // Places differ with the length of the constants.
    CHECK(set("select 1; select 2").statements[1].offset == 9);
    CHECK(set("select 100; select 2").statements[1].offset == 11);
    CHECK(classifier.stats().normalised_hits == 0);
}

TEST_CASE("a syntax error poisons only itself") {
    sql_classifier classifier;
    CHECK(classifier.classify("select 1 from t limit 'x' 'y' 7 7")->why == why::syntax_error);
    CHECK(classifier.classify("select interval(1) '1 day'")->access == a::read);
    CHECK(classifier.classify("select interval(1.5) '1 day'")->access ==
          a::read);  // shares the key; the server refuses it
    CHECK(classifier.classify("select char(1.5) 'x'")->why == why::syntax_error);
    CHECK(classifier.classify("select char(1) 'x'")->access == a::read);
    CHECK(classifier.classify("select char(1.5) 'x'")->why ==
          why::syntax_error);  // its own exact entry still stands
}

TEST_CASE("a text that spells a key of another is not taken for it") {
    sql_classifier classifier;
    CHECK(classifier.classify("select a from t where b = 1 and c = 'x'")->access == a::read);
    CHECK(classifier.classify("select a from t where b = \x01 and c = \x02")->why == why::syntax_error);
    CHECK(classifier.classify("select a from t where b = 2 and c = 'y'")->access == a::read);
    // A NUL inside a constant would end the text for the parser.
    std::string const with_nul("select a from t where b = 2 and c = '\0'", 39);
    CHECK(classifier.classify(with_nul)->why == why::syntax_error);
}

TEST_CASE("the facts of the session are not forgotten by the cache") {
    sql_classifier classifier;
    std::string const sql = "select 'a\\'; drop table x; --'";
    CHECK(classifier.classify(sql)->access == a::write);
    CHECK(classifier.classify(sql, {.standard_conforming_strings = false})->why == why::encoding);
    CHECK(classifier.classify(sql)->access == a::write);
}

static verdict_cache::verdict const* find(verdict_cache& cache, std::string_view key, key_space space) {
    return cache.find(key, space, cache.hash_of(key, space));
}

TEST_CASE("the cache is bounded in entries and bytes and keeps what is used") {
    verdict_cache cache(64, 1 << 20, 42);
    auto const hot = some(a::read);
    cache.put("hot", key_space::exact, hot);
    for (int i = 0; i < 10000; ++i) {
        cache.put("cold" + std::to_string(i), key_space::exact, some(a::write));
        REQUIRE(find(cache, "hot", key_space::exact) != nullptr);
        REQUIRE(cache.size() <= 64);
    }
    CHECK(*find(cache, "hot", key_space::exact) == hot);
    CHECK(find(cache, "hot", key_space::normalised) == nullptr);

    verdict_cache narrow(4096, 8192, 42);
    for (int i = 0; i < 1000; ++i) {
        narrow.put(std::string(100, 'x') + std::to_string(i), key_space::exact, some(a::read));
        REQUIRE(narrow.bytes() <= 8192);
    }
    CHECK(narrow.size() > 5);
    CHECK(narrow.put(std::string(10000, 'x'), key_space::exact, some(a::read)) == nullptr);
    CHECK(narrow.put("same", key_space::exact, some(a::read)) != nullptr);
    CHECK((*narrow.put("same", key_space::exact, some(a::write)))->access == a::write);
    CHECK((*find(narrow, "same", key_space::exact))->access == a::write);
}

TEST_CASE("keys that fall on one set, even with one hash, are told apart") {
    // One set of four: every key collides.
    verdict_cache cache(4, 1 << 20, 1);
    std::vector<std::string> const keys = {"", "a", "b", "ab"};
    for (auto const& key : keys) cache.put(key, key_space::exact, some(key == "b" ? a::write : a::read));
    for (auto const& key : keys) {
        auto const* hit = find(cache, key, key_space::exact);
        REQUIRE(hit != nullptr);
        CHECK(((*hit)->access == a::write) == (key == "b"));
    }
    CHECK(find(cache, "c", key_space::exact) == nullptr);
    cache.put("c", key_space::exact, some(a::read));
    CHECK(cache.size() == 4);
}

TEST_CASE("texts longer than a key are parsed each time, and a kept verdict outlives its entry") {
    sql_classifier classifier({.cache_entries = 4, .max_key_bytes = 64});
    std::string const sql = "select " + std::string(100, 'x') + " from t";
    auto const kept = classifier.classify(sql);
    (void)classifier.classify(sql);
    CHECK(classifier.stats().parses == 2);
    for (int i = 0; i < 100; ++i) (void)classifier.classify("select a" + std::to_string(i));
    CHECK(classifier.cached() <= 4);
    CHECK(kept->access == a::read);
    // The key of a long text with long constants is short.
    for (int i = 0; i < 3; ++i)
        (void)classifier.classify("select '" + std::string(100, static_cast<char>('a' + i)) + "'");
    CHECK(classifier.stats().normalised_hits == 2);
}

TEST_CASE("settings that a client may change while its site is sealed") {
    for (char const* name :
         {"work_mem", "search_path", "application_name", "timezone", "datestyle", "enable_seqscan", "role",
          "statement_timeout", "app.user", "default_transaction_isolation", "default_transaction_deferrable"})
        CHECK_MESSAGE(is_harmless_setting(name, ""), name);
    for (char const* name :
         {"", "transaction_read_only", "transaction_isolation", "transaction_deferrable",
          "session_authorization", "session_preload_libraries", "local_preload_libraries",
          "dynamic_library_path", "session_replication_role", "backslash_quote", "transform_null_equals",
          "allow_system_table_mods", "lo_compat_privileges", "is_superuser", "nosuch"})
        CHECK_FALSE_MESSAGE(is_harmless_setting(name, "on"), name);
    for (char const* value : {"on", "ON", "true", "1", "yes"}) {
        CHECK(is_harmless_setting("default_transaction_read_only", value));
        CHECK(is_harmless_setting("standard_conforming_strings", value));
    }
    for (char const* value : {"", "off", "0", "false", "o", "on off"}) {
        CHECK_FALSE(is_harmless_setting("default_transaction_read_only", value));
        CHECK_FALSE(is_harmless_setting("standard_conforming_strings", value));
    }
    for (char const* value : {"UTF8", "utf-8", "SQL_ASCII", "Latin1", "ISO-8859-15", "WIN1252", "EUC_JP"})
        CHECK_MESSAGE(is_harmless_setting("client_encoding", value), value);
    for (char const* value : {"", "SJIS", "shift_jis", "BIG5", "GBK", "UHC", "GB18030", "JOHAB",
                              "SHIFT_JIS_2004", "WIN932", "win950"})
        CHECK_FALSE_MESSAGE(is_harmless_setting("client_encoding", value), value);
}
