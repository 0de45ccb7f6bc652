#include "proxy/warning_pace.hpp"

#include <doctest/doctest.h>

using namespace lull;
using namespace std::chrono_literals;

TEST_CASE("a warning of the same is written once a minute") {
    warning_pace pace;
    warning_pace::instant const start{};
    CHECK(pace.due("a", start));
    CHECK(!pace.due("a", start + 59s));
    CHECK(pace.due("b", start + 59s));
    CHECK(pace.due("a", start + 60s));
    CHECK(!pace.due("a", start + 119s));
}
