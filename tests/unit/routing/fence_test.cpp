#include "routing/fence.hpp"

#include <doctest/doctest.h>

using namespace lull::routing;

namespace {

std::vector<fence_setting> const fence{
    {.database = "shop"},
    {.database = "shop", .role = "reports", .before = "on", .read_only = true},
    {.database = "shop", .role = "o\"dd", .before = "o'n"},
    {.database = "archive", .before = "on", .read_only = true},
};

}  // namespace

TEST_CASE("what a session would have without the fence: the role's own setting, then the database's") {
    CHECK(read_only_without(fence, "shop", "app") == false);
    CHECK(read_only_without(fence, "shop", "reports") == true);
    CHECK(read_only_without(fence, "archive", "app") == true);
    CHECK(read_only_without(fence, "archive", "reports") == true);
    CHECK_FALSE(read_only_without(fence, "other", "app"));
    CHECK_FALSE(read_only_without({}, "shop", "app"));
}

TEST_CASE("the statements quote what they name") {
    CHECK(alter(fence[0], "on") == "ALTER DATABASE \"shop\" SET default_transaction_read_only = 'on'");
    CHECK(alter(fence[0], std::nullopt) == "ALTER DATABASE \"shop\" RESET default_transaction_read_only");
    CHECK(alter(fence[2], fence[2].before) ==
          "ALTER ROLE \"o\"\"dd\" IN DATABASE \"shop\" SET default_transaction_read_only = 'o''n'");
    CHECK(undoing(fence, 2) ==
          "ALTER DATABASE \"shop\" RESET default_transaction_read_only; ALTER ROLE \"reports\" IN DATABASE "
          "\"shop\" SET "
          "default_transaction_read_only = 'on'; ...");
}
