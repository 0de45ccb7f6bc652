#include "proxy/greeting_book_core.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull;

TEST_CASE("greetings: each is for one cluster, database, user and set of settings") {
    setting_interner settings;
    session_settings const none = settings.none();
    session_settings const some = settings.with(none, "timezone", "UTC");
    greeting_book book;
    CHECK(!book.find({"main", "shop", "app", none}));
    CHECK(book.keep({"main", "shop", "app", none}, {none, "one", ""}).messages == "one");
    book.keep({"main", "shop", "app", some}, {some, "two", ""});
    book.keep({"main", "app", "shop", none}, {none, "three", ""});
    book.keep({"shop", "main", "app", none}, {none, "four", ""});
    CHECK(book.find({"main", "shop", "app", none})->messages == "one");
    CHECK(book.find({"main", "shop", "app", some})->messages == "two");
    CHECK(book.find({"main", "shop", "app", some})->reported == some);
    CHECK(book.find({"main", "app", "shop", none})->messages == "three");
    CHECK(book.find({"shop", "main", "app", none})->messages == "four");
    CHECK(!book.find({"app", "main", "shop", none}));
    book.keep({"main", "shop", "app", none}, {none, "five", ""});
    CHECK(book.find({"main", "shop", "app", none})->messages == "five");
}

TEST_CASE("greetings: so many are kept, and settings that nobody has any more are not taken for others") {
    setting_interner settings;
    greeting_book book;
    for (int i = 0; i < 5'000; ++i) {
        session_settings const mine = settings.with(settings.none(), "application_name", std::to_string(i));
        CHECK(!book.find({"main", "shop", "app", mine}));
        book.keep({"main", "shop", "app", mine}, {mine, std::to_string(i), ""});
        CHECK(book.find({"main", "shop", "app", mine})->messages == std::to_string(i));
    }
    CHECK(book.size() <= greeting_book::most);
}
