#include "protocol/pg/md5.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull::pg;

TEST_CASE("md5 passwords, as PostgreSQL makes them") {
    // SELECT 'md5' || md5('secret' || 'app'), and with the salt 01020304 once more.
    auto const hash = md5_hash("secret", "app");
    REQUIRE(hash);
    CHECK(*hash == "md56a422f785c9e20873908ce25d1736ae2");
    CHECK(is_md5_hash(*hash));
    CHECK(!is_md5_hash("md5"));
    CHECK(!is_md5_hash("md5" + std::string(32, 'A')));
    CHECK(!is_md5_hash("MD5" + std::string(32, 'a')));
    CHECK(!is_md5_hash("md5" + std::string(33, 'a')));
    CHECK(md5_answer(*hash, as_bytes("\1\2\3\4")) == "md5911f527656472583a006e7727877b33e");
    CHECK(equal_secrets("abc", "abc"));
    CHECK(!equal_secrets("abc", "abd"));
    CHECK(!equal_secrets("abc", "abcd"));
}
