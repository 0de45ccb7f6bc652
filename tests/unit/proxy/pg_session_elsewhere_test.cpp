// A read that only a standby refuses: what comes again, for the primary, and what is told.
#include "tests/unit/proxy/script.hpp"

using namespace lull;
using namespace lull::wire;

namespace {

std::string const segment = parse("", "select a from t") + bind_to("") + describe('P', "") + execute() + wire::sync();
std::string const shape = message('1') + message('2') + row_description();

void answer(scene& s, std::string const& before) {
    s.server(before + data_row("x") + complete("SELECT 1") + ready('I'));
}

}  // namespace

TEST_CASE("a read that only a standby refuses is asked of the primary, and its client does not notice") {
    for (char const* const code : {"40001", "40P01", "25006", "0A000", "55000"})
        for (bool const simple : {true, false})
            tell([&](scene& s) {
                s.client(simple ? query("select a from t") : segment);
                test_server& first = s.link();
                REQUIRE(&first == &s.replica);
                std::string const sent = s.sent(first);
                s.server((simple ? row_description() : shape) + error(code) + ready('I'));
                CHECK(s.told() == "");
                REQUIRE(&s.link() == &s.primary);
                CHECK(s.sent(s.primary) == sent);
                answer(s, simple ? row_description() : shape);
                CHECK(s.told() == (simple ? "T D(x) C(SELECT 1) Z(I) " : "1 2 T D(x) C(SELECT 1) Z(I) "));
                s.client(query("select a from t"));
                CHECK(&s.link() == &s.replica);
            });
}

TEST_CASE("what the primary refuses as well is told once") {
    tell([](scene& s) {
        s.client(query("select a from t"));
        s.link();
        s.server(error("25006") + ready('I'));
        s.link();
        s.server(error("25006") + ready('I'));
        CHECK(s.told() == "E(25006 it failed) Z(I) ");
        CHECK_FALSE(s.driver.linked());
    });
}

TEST_CASE("not behind a row or a notice, nor by another error, nor where the client asks for the replica or is in a block") {
    auto const refused = [](scene& s, std::string const& text, std::string const& said, std::string const& told) {
        s.client(query(text));
        s.link();
        s.server(said + error("40001") + ready('I'));
        CHECK(s.told() == told + "E(40001 it failed) Z(I) ");
        CHECK_FALSE(s.driver.wish());
    };
    tell([&](scene& s) {
        refused(s, "select a from t", row_description() + data_row("x"), "T D(x) ");
        refused(s, "select a from t", notice("mind"), "N(25001 mind) ");
        refused(s, "/* lull: replica */ select a from t", row_description(), "T ");
        refused(s, "select a from t; select a from t", row_description(), "T ");
        s.client(query("select a from t"));
        s.link();
        s.server(error("22012") + ready('I'));
        CHECK(s.told() == "E(22012 it failed) Z(I) ");
    });
}

TEST_CASE("what has no rows is told as it is") {
    tell([](scene& s) {
        s.client(query("select a from t"));
        s.link();
        s.server(row_description() + complete("SELECT 0") + ready('I'));
        CHECK(s.told() == "T C(SELECT 0) Z(I) ");
        s.client(segment);
        s.link();
        s.server(message('1') + message('2') + message('n') + complete("SELECT 0") + ready('I'));
        CHECK(s.told() == "1 2 n C(SELECT 0) Z(I) ");
    });
}

TEST_CASE("what is kept back of a client that has gone is of nobody, and what it canceled does not come again") {
    scene s({});
    s.client(query("select a from t"));
    test_server& at = s.link();
    s.driver.gone();
    s.server(row_description() + error("40001") + ready('I'));
    CHECK(at.state.described.empty());

    scene c({});
    c.client(query("select a from t"));
    c.link();
    c.driver.cancel();
    c.driver.cancel_ended();
    c.server(row_description() + error("40001") + ready('I'));
    CHECK(c.told() == "T E(40001 it failed) Z(I) ");
}
