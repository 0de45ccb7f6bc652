#include "routing/sql_classifier.hpp"

#include <doctest/doctest.h>

TEST_CASE("the self-test passes with the library that is linked") {
    std::string failed;
    CHECK_MESSAGE(lull::routing::sql_self_test(failed), failed);
}
