// "cached plan must not change result type": what is done once more, and what is told.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

/// The client has prepared `q`, and its server knows it.
test_server& prepare(scene& s) {
    s.client(parse("q", "select a from t") + wire::sync());
    test_server& reader = s.link();
    (void)s.sent(reader);
    s.server(message('1') + ready('I'));
    CHECK(s.told() == "1 Z(I) ");
    return reader;
}

std::string const whole = bind_to("q") + describe('P', "") + execute() + wire::sync();

/// The client's write has run once, and is under way again.
void write_again(scene& s) {
    s.client(parse("q", "insert into t values (1) returning *") + whole);
    s.link();
    s.server(message('1') + message('2') + rows({"x"}) + ready('I'));
    (void)s.told();
    s.client(whole);
    s.link();
}

}  // namespace

TEST_CASE("a statement whose result has changed is prepared anew, and its client does not notice") {
    tell([](scene& s) {
        test_server& reader = prepare(s);
        s.client(whole);
        s.link();
        std::string const first = s.sent(reader);
        CHECK(lacks(first, "P("));
        s.server(stale_plan());
        s.server(ready('I'));
        CHECK(s.told() == "");
        std::string const again = s.sent(reader);
        CHECK(again.substr(0, 7) == "C(Slull");
        CHECK(has(again, "select a from t"));
        CHECK(again.ends_with(first));
        s.server(message('3') + message('1') + message('2') + rows({"x"}) + ready('I'));
        CHECK(s.told() == "2 T D(x) C(SELECT 1) Z(I) ");
        CHECK_FALSE(s.driver.linked());
        s.client(whole);
        s.link();
        CHECK(s.sent(reader) == first);
        s.server(message('2') + rows({"x"}) + ready('I'));
        CHECK(s.told() == "2 T D(x) C(SELECT 1) Z(I) ");
    });
}

TEST_CASE("also where it is only described") {
    tell([](scene& s) {
        test_server& reader = prepare(s);
        s.client(describe('S', "q") + wire::sync());
        s.link();
        (void)s.sent(reader);
        s.server(stale_plan() + ready('I'));
        CHECK(s.told() == "");
        CHECK(has(s.sent(reader), "P(lull"));
        s.server(message('3') + message('1') + message('t', std::string_view("\0\0", 2)) + row_description() + ready('I'));
        CHECK(s.told() == "t T Z(I) ");
    });
}

TEST_CASE("also where it writes: nothing of it has run") {
    tell([](scene& s) {
        write_again(s);
        (void)s.sent(s.primary);
        CHECK(s.driver.core().writes());
        s.server(stale_plan());
        s.server(ready('I'));
        CHECK(s.told() == "");
        CHECK(has(s.sent(s.primary), "insert into t"));
        CHECK(s.driver.core().writes());
        s.server(message('3') + message('1') + message('2') + rows({"y"}) + ready('I'));
        CHECK(s.told() == "2 T D(y) C(SELECT 1) Z(I) ");
    });
}

TEST_CASE("what comes again is judged by what the site is then") {
    tell([](scene& s) {
        write_again(s);
        s.server(stale_plan());
        s.flip(routing::mode::sealed);
        (void)s.told();
        (void)s.sent(s.primary);
        s.server(ready('I'));
        CHECK(lacks(s.sent(s.primary), "insert"));
        CHECK_FALSE(s.driver.core().writes());
    });
}

TEST_CASE("only once") {
    tell([](scene& s) {
        prepare(s);
        s.client(whole);
        s.link();
        s.server(stale_plan() + ready('I'));
        CHECK(s.told() == "");
        s.server(message('3') + message('1') + stale_plan() + ready('I'));
        CHECK(s.told() == "E(0A000 cached plan must not change result type) Z(I) ");
    });
}

TEST_CASE("not where the client would misread what comes, nor behind what it has done in a block") {
    std::string const formats("\0\0\0\0\0\2\0\0\0\0", 10);
    std::string two_formats;
    pg::write_bind_renamed(two_formats, "", "q", pg::as_bytes(formats));
    std::string const number("\0\1\0\1\0\1\0\0\0\4\0\0\0\7\0\0", 16);
    std::string binary;  // of a type that Parse has left to the server
    pg::write_bind_renamed(binary, "", "q", pg::as_bytes(number));
    for (std::string const& unit : {bind_to("q") + execute() + wire::sync(),
                                    binary + describe('P', "") + execute() + wire::sync(),
                                    describe('S', "q") + bind_to("q") + execute() + wire::sync(),
                                    two_formats + describe('P', "") + execute() + wire::sync(),
                                    bind_to("q") + execute() + describe('P', "") + wire::sync()})
        tell([&](scene& s) {
            prepare(s);
            s.client(unit);
            s.link();
            s.server(stale_plan() + ready('I'));
            CHECK(s.told() == "E(0A000 cached plan must not change result type) Z(I) ");
        });
    tell([](scene& s) {
        test_server& reader = prepare(s);
        s.client(whole);
        s.link();
        (void)s.sent(reader);
        s.server(stale_plan("PL/pgSQL function f()") + ready('I'));
        CHECK(has(s.told(), "0A000"));
        CHECK(s.sent(reader) == "");
    });
    tell([](scene& s) {
        s.client(parse("q", "select a from t") + wire::sync());
        s.link();
        s.server(message('1') + ready('I'));
        s.client(query("begin read only") + query("select 1"));
        s.link();
        s.server(complete("BEGIN") + ready('T') + rows({"1"}) + ready('T'));
        (void)s.told();
        s.client(whole);
        s.server(stale_plan() + ready('E'));
        CHECK(s.told() == "E(0A000 cached plan must not change result type) Z(E) ");
    });
}

TEST_CASE("nothing that has been sent behind it is overtaken") {
    tell([](scene& s) {
        write_again(s);
        s.client(whole);
        (void)s.sent(s.primary);
        s.server(stale_plan() + ready('I') + message('2') + rows({"x"}) + ready('I'));
        CHECK(s.told() == "E(0A000 cached plan must not change result type) Z(I) 2 T D(x) C(SELECT 1) Z(I) ");
        CHECK(s.sent(s.primary) == "");
    });
    tell([](scene& s) {
        test_server& reader = prepare(s);
        s.client(whole);
        s.link();
        (void)s.sent(reader);
        s.server(stale_plan());
        s.client(query("select 'behind'"));
        CHECK(s.sent(reader) == "");
        s.server(ready('I'));
        std::string const again = s.sent(reader);
        CHECK(again.find("select a from t") < again.find("behind"));
        s.server(message('3') + message('1') + message('2') + rows({"x"}) + ready('I'));
        CHECK(s.told().starts_with("2 T D(x) C(SELECT 1) Z(I) "));
        if (s.driver.wish()) s.link();
        s.server(rows({"behind"}) + ready('I'));
        CHECK(s.told().ends_with("D(behind) C(SELECT 1) Z(I) "));
    });
}

TEST_CASE("a client that goes meanwhile leaves a server that is clean") {
    scene s(cutter{});
    test_server& reader = prepare(s);
    s.client(whole);
    s.link();
    (void)s.sent(reader);
    s.server(stale_plan());
    s.driver.gone();
    s.server(ready('I'));
    CHECK(s.driver.core().finished());
    CHECK(s.sent(reader) == "");
    CHECK(s.driver.released.back() == &reader);
}

TEST_CASE("a cancel between the error that is not told and the end of its segment is told, and nothing runs again") {
    for (bool const late : {true, false}) {
        tell([&](scene& s) {
            test_server& reader = prepare(s);
            s.client(whole);
            s.link();
            (void)s.sent(reader);
            s.server(stale_plan());
            s.driver.cancel();
            CHECK(s.driver.cancels == 0);
            if (late) s.client(query("select 'behind'"));
            s.server(ready('I'));
            CHECK(s.told() == "E(57014 canceling statement due to user request) Z(I) ");
            CHECK(lacks(s.sent(reader), "select a"));
            if (late) s.server(rows({"behind"}) + ready('I'));
            s.client(query("select 1"));
            s.link();
            s.server(rows({"1"}) + ready('I'));
            CHECK(has(s.told(), "D(1) C(SELECT 1) Z(I) "));
        });
    }
}

TEST_CASE("what a cancel is on its way to does not run again") {
    scene s({});
    test_server& reader = prepare(s);
    s.driver.slow_cancels = true;
    s.client(whole);
    s.link();
    (void)s.sent(reader);
    s.driver.cancel();
    CHECK(s.driver.cancels == 1);
    s.server(stale_plan() + ready('I'));
    CHECK(s.told() == "E(0A000 cached plan must not change result type) Z(I) ");
    CHECK(s.sent(reader) == "");
}
