#include "proxy/login_book_core.hpp"

#include <doctest/doctest.h>

using namespace lull;

namespace {

server_credentials password(std::string text) {
    server_credentials c;
    c.password = std::move(text);
    return c;
}

}  // namespace

TEST_CASE("login book: who comes when it is full is not remembered, who is in it stays and is brought up to date") {
    constexpr routing::site_id shop{0}, held{1};
    login_book book(2);
    CHECK(book.keep(shop, "one", password("a")));
    CHECK(book.keep(held, "one", password("b")));
    CHECK_FALSE(book.keep(shop, "two", password("c")));
    CHECK(book.keep(shop, "one", password("d")));

    REQUIRE(book.find(shop, "one"));
    CHECK(book.find(shop, "one")->password == "d");
    REQUIRE(book.find(held, "one"));
    CHECK(book.find(held, "one")->password == "b");
    CHECK_FALSE(book.find(shop, "two"));
    CHECK(book.size() == 2);
}

TEST_CASE("login book: whose writes are journaled takes the place of who has only come in, never that of another like him") {
    constexpr routing::site_id shop{0};
    login_book book(2);
    CHECK(book.keep(shop, "visitor", password("a")));
    CHECK(book.keep(shop, "writer", password("b"), true));
    CHECK(book.keep(shop, "writer", password("c")));  // comes in once more
    CHECK(book.keep(shop, "another", password("d"), true));
    CHECK_FALSE(book.find(shop, "visitor"));
    REQUIRE(book.find(shop, "writer"));
    CHECK(book.find(shop, "writer")->password == "c");
    CHECK_FALSE(book.keep(shop, "third", password("e"), true));
    CHECK(book.size() == 2);
}
