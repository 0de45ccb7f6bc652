#include "routing/route.hpp"

#include <doctest/doctest.h>

using namespace lull::routing;

TEST_CASE("a comment in front of a statement says where it is to go") {
    CHECK(route_of_comment("/* lull: primary */ SELECT 1") == route::primary);
    CHECK(route_of_comment("  \n/*lull:primary*/SELECT 1") == route::primary);
    CHECK(route_of_comment("/* LULL: Replica */ SELECT 1") == route::replica);
    CHECK(route_of_comment("-- a line\n/* another */ /* lull: replica */ SELECT 1") == route::replica);
    CHECK(route_of_comment("/* lull: primary */ /* lull: replica */ SELECT 1") == route::primary);
}

TEST_CASE("what is no such comment, or not in front, says nothing") {
    for (char const* text :
         {"", "/", "/*", "/* lull: primary", "-- lull: primary", "-- /* lull: primary */", "SELECT 1 /* lull: primary */",
          "SELECT '/* lull: primary */'", "/* lull: elsewhere */ SELECT 1", "/* lull primary */ SELECT 1",
          "/* /* lull: primary */ */ SELECT 1", "/* lull: primary /* */ */ SELECT 1", "/*+ lull: primary */ SELECT 1"})
        CHECK_MESSAGE(route_of_comment(text) == route::automatic, text);
}

TEST_CASE("a setting says it for a session, in whatever words it was set") {
    for (char const* value : {"primary", "PRIMARY", " Primary "})
        CHECK_MESSAGE(route_of_setting(value) == route::primary, value);
    CHECK(route_of_setting("replica") == route::replica);
    for (char const* value : {"auto", "", "primary, replica", "'primary'", "= primary"})
        CHECK_MESSAGE(route_of_setting(value) == route::automatic, value);
}
