#include "proxy/pause_book_core.hpp"

#include <doctest/doctest.h>

using namespace lull;

TEST_CASE("a PAUSE that is given up undoes only what nobody else wants") {
    pause_book book;
    book.ask("shop");
    book.ask("shop");
    CHECK(!book.give_up("shop"));
    CHECK(book.stops("shop"));
    CHECK(!book.stops("held"));
    CHECK(!book.all());
    CHECK(book.give_up("shop"));
    CHECK(!book.stops("shop"));

    book.ask("shop");
    book.settle("shop");
    book.ask("shop");
    CHECK(!book.give_up("shop"));
    CHECK(book.stops("shop"));

    book.keep("held");
    book.ask("held");
    CHECK(!book.give_up("held"));
}

TEST_CASE("all databases are a thing of their own, but a RESUME without a name ends everything") {
    pause_book book;
    CHECK(!book.resume(""));
    book.ask("");
    book.ask("shop");
    CHECK(book.all());
    CHECK(book.give_up(""));
    CHECK(!book.all());
    CHECK(book.stops("shop"));
    CHECK(!book.resume("held"));
    book.ask("");
    CHECK(book.resume(""));
    CHECK(!book.all());
    CHECK(!book.stops("shop"));
}
