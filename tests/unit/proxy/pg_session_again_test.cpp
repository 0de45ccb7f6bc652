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

TEST_CASE("also where it is only described: its parameters are told once") {
    tell([](scene& s) {
        test_server& reader = prepare(s);
        s.client(describe('S', "q") + wire::sync());
        s.link();
        (void)s.sent(reader);
        s.server(no_parameters() + stale_plan() + ready('I'));
        CHECK(s.told() == "");
        CHECK(has(s.sent(reader), "P(lull"));
        s.server(message('3') + message('1') + no_parameters() + row_description() + ready('I'));
        CHECK(s.told() == "t T Z(I) ");
        (void)s.sent(reader);
        s.client(describe('S', "q") + wire::sync());
        s.link();
        s.server(no_parameters() + error("42P01") + ready('I'));
        CHECK(s.told() == "t E(42P01 it failed) Z(I) ");
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

namespace {

std::string const runs = bind_to("q") + execute() + wire::sync();

bool is_look(std::string const& sent) {
    return has(sent, "P(lull_") && has(sent, ",select a from t) D(Slull_") && sent.ends_with(" H ");
}
bool is_run(std::string const& sent) {
    return sent.starts_with("B(,lull_") && sent.ends_with(") E() S ");
}

/// The client knows the columns of `q` from a reader, and is with the primary now, which does not have it.
void describe_and_move(scene& s) {
    s.client(parse("q", "select a from t") + describe('S', "q") + wire::sync());
    s.link();
    s.server(message('1') + no_parameters() + row_description() + ready('I'));
    CHECK(s.told() == "1 t T Z(I) ");
    s.begin_and_write();
    (void)s.told();
    (void)s.sent(s.primary);
}

}  // namespace

TEST_CASE("where another server comes to prepare what a client knows the columns of, it is asked for them first") {
    tell([](scene& s) {
        describe_and_move(s);
        s.client(runs);
        CHECK(is_look(s.sent(s.primary)));
        s.server(message('1') + no_parameters() + row_description());
        CHECK(s.told() == "");
        CHECK(is_run(s.sent(s.primary)));
        s.server(message('2') + data_row("x") + complete("SELECT 1") + ready('T'));
        CHECK(s.told() == "2 D(x) C(SELECT 1) Z(T) ");
        s.client(runs);  // and it is known from now
        CHECK(is_run(s.sent(s.primary)));
        s.server(message('2') + data_row("x") + complete("SELECT 1") + ready('T'));
    });
}

TEST_CASE("where these are others it fails as in the session that told them, and nothing has run") {
    tell([](scene& s) {
        describe_and_move(s);
        s.client(runs);
        s.server(message('1') + no_parameters() + row_description("other"));
        CHECK(lacks(s.sent(s.primary), "B(,lull"));
        s.server(message('1') + error("42601") + ready('E'));
        CHECK(s.told() == "E(0A000 cached plan must not change result type) Z(E) ");
        s.client(query("rollback"));
        s.server(complete("ROLLBACK") + ready('I'));
        (void)s.told();
        // Who prepares it once more has a new one, by the text as it is read now.
        s.client(parse("r", "select a from t") + describe('S', "r") + wire::sync());
        CHECK(has(s.sent(s.link()), ",select a from t)"));
        s.server(message('1') + no_parameters() + row_description("other") + ready('I'));
        CHECK(has(s.told(), "1 t T Z(I) "));
    });
}

TEST_CASE("who asks for the columns gets those of now, and who prepares anew by another name is not looked after by that") {
    for (std::string const& unit : {whole, parse("again", "select a from t") + bind_to("again") + execute() + wire::sync()})
        tell([&](scene& s) {
            describe_and_move(s);
            s.client(unit);
            std::string const sent = s.sent(s.primary);
            CHECK(has(sent, ",select a from t)"));
            CHECK(has(sent, "E() S "));
            CHECK(lacks(sent, "H"));
            bool const parses = unit != whole;
            s.server(message('1') + message('2') + (parses ? std::string() : row_description("other")) + data_row("x") +
                     complete("SELECT 1") + ready('T'));
            CHECK(s.told() == std::string(parses ? "1 " : "") + "2 " + (parses ? "" : "T ") + "D(x) C(SELECT 1) Z(T) ");
            s.client(runs);
            std::string const next = s.sent(s.primary);
            CHECK((parses ? is_look(next) : is_run(next)));  // these are what it knows from now, by that name
        });
}

TEST_CASE("what a server had before anybody was told of it is looked at, too") {
    tell([](scene& s) {
        describe_and_move(s);
        s.client(parse("undescribed", "select a from t") + wire::sync());
        s.server(message('1') + ready('T'));
        s.client(parse("q2", "select a from t") + describe('S', "q2") + wire::sync());
        (void)s.sent(s.primary);
        s.server(no_parameters() + row_description() + ready('T'));
        (void)s.told();
        for (std::uint64_t id = 1; id < 100; ++id)
            if (told_shape* const there = s.primary.state.statements.use(id)) there->columns = 0;  // as if nobody had
        s.client(bind_to("q2") + execute() + wire::sync());
        std::string const look = s.sent(s.primary);
        CHECK(look.starts_with("C(Slull_"));
        s.server(message('3') + message('1') + no_parameters() + row_description());
        CHECK(is_run(s.sent(s.primary)));
        s.server(message('2') + complete("SELECT 0") + ready('T'));
    });
}

TEST_CASE("what a look meets is told: the table is gone") {
    tell([](scene& s) {
        describe_and_move(s);
        s.client(runs);
        s.server(error("42P01") + ready('E'));
        CHECK(s.told() == "E(42P01 it failed) Z(E) ");
    });
}

TEST_CASE("binary parameters are of the types that were told, or nothing is bound; text is read by any") {
    std::string int8, float8;
    pg::writer(int8, 't').int16(1).int32(20);
    pg::writer(float8, 't').int16(1).int32(701);
    auto const bind_as = [](char format) {
        std::string out;
        std::string const rest({0, 1, 0, format, 0, 1, 0, 0, 0, 1, '7', 0, 0});
        pg::write_bind_renamed(out, "", "q", pg::as_bytes(rest));
        return out + execute() + wire::sync();
    };
    auto const described = [&](scene& s) {
        s.client(parse("q", "insert into t values ($1)") + describe('S', "q") + wire::sync());
        s.link();
        s.server(message('1') + int8 + message('n') + ready('I'));
        CHECK(s.told() == "1 t n Z(I) ");
        s.primary.state.statements.clear();  // as another one
        (void)s.sent(s.primary);
    };
    tell([&](scene& s) {
        described(s);
        s.client(bind_as(0));
        s.link();
        CHECK(has(s.sent(s.primary), "E() S "));
        s.server(message('1') + message('2') + complete("INSERT 0 1") + ready('I'));
        CHECK(s.told() == "2 C(INSERT 0 1) Z(I) ");
    });
    for (bool const same : {true, false})
        tell([&](scene& s) {
            described(s);
            s.client(bind_as(1));
            s.link();
            CHECK(s.sent(s.primary).ends_with(" H "));
            s.server(message('1') + (same ? int8 : float8) + message('n'));
            CHECK(has(s.sent(s.primary), "B(,lull_") == same);
            if (same)
                s.server(message('2') + complete("INSERT 0 1") + ready('I'));
            else
                s.server(message('1') + error("42601") + ready('I'));
            CHECK(s.told() == (same ? "2 C(INSERT 0 1) Z(I) " : "E(0A000 cached plan must not change result type) Z(I) "));
        });
}

TEST_CASE("a segment that gives the name to another statement does not come again") {
    tell([](scene& s) {
        prepare(s);
        s.client(describe('S', "q") + close('S', "q") + parse("q", "select b from t") + wire::sync());
        s.link();
        s.server(no_parameters() + stale_plan() + ready('I'));
        CHECK(s.told() == "t E(0A000 cached plan must not change result type) Z(I) ");
    });
}

TEST_CASE("a client that goes while a server is looked at leaves it clean") {
    scene s(cutter{});
    s.client(parse("q", "select a from t") + describe('S', "q") + wire::sync());
    test_server& reader = s.link();
    s.server(message('1') + no_parameters() + row_description() + ready('I'));
    reader.state.statements.clear();  // as another one
    s.client(runs);
    s.link();
    CHECK(is_look(s.sent(reader)));
    s.driver.gone();
    s.server(message('1') + no_parameters() + row_description());
    if (!s.driver.core().finished()) s.server(ready('I'));
    CHECK(s.driver.core().finished());
}

TEST_CASE("a look waits for what stands before it in its segment, which may fail") {
    tell([](scene& s) {
        describe_and_move(s);
        s.client(parse("", "select 1/0") + bind_to("") + execute() + bind_to("q") + execute() + wire::sync());
        CHECK(lacks(s.sent(s.primary), "select a from t"));
        s.server(message('1') + message('2') + error("22012"));
        CHECK(lacks(s.sent(s.primary), "select a from t"));
        s.server(ready('E'));
        CHECK(s.told() == "1 2 E(22012 it failed) Z(E) ");
    });
}

TEST_CASE("a Bind with a Query behind it is bound") {
    scene s({});
    describe_and_move(s);
    s.client(bind_to("q") + query("select 7"));
    CHECK(is_look(s.sent(s.primary)));
    s.server(message('1') + no_parameters() + row_description());
    CHECK(has(s.sent(s.primary), "B(,lull_"));
}
