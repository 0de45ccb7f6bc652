#include "proxy/address_book_core.hpp"

#include <doctest/doctest.h>

using namespace lull;
using namespace std::chrono_literals;

namespace {

using book = address_book<int>;
using answer = book::answer;

/// Asks; what a kept asker is told later is appended to `told`.
struct listener {
    book names;
    std::vector<std::vector<int>> told;
    std::vector<std::string> errors;
    book::instant now{};

    book::asked ask() {
        return names.ask("db.example", now, 10s, [this] {
            return [this](std::vector<int> addresses, std::string error) {
                told.push_back(std::move(addresses));
                errors.push_back(std::move(error));
            };
        });
    }
    bool found(std::vector<int> addresses, std::string error = {}) {
        auto const out = names.found("db.example", now, std::move(addresses), std::move(error));
        for (auto const& then : out.waiting) then(out.addresses, out.error);
        return out.moved;
    }
};

}  // namespace

TEST_CASE("address book: one look-up for all who ask, and a change is followed") {
    listener one;
    CHECK(one.ask().what == answer::look_up);
    CHECK(one.ask().what == answer::wait);
    one.found({1});
    CHECK(one.told == std::vector<std::vector<int>>{{1}, {1}});
    one.now += 9s;
    auto const known = one.ask();
    CHECK(known.what == answer::known);
    CHECK(*known.addresses == std::vector<int>{1});
    one.now += 2s;  // old: used on while it is looked up, once
    auto const stale = one.ask();
    CHECK(stale.what == answer::stale);
    CHECK(*stale.addresses == std::vector<int>{1});
    CHECK(one.ask().what == answer::known);
    one.found({2});
    CHECK(*one.ask().addresses == std::vector<int>{2});
    CHECK(one.told.size() == 2);
}

TEST_CASE("address book: what nobody has asked for in long is looked up before it is used") {
    listener one;
    one.ask();
    one.found({1});
    one.now += 21s;
    CHECK(one.ask().what == answer::look_up);
    CHECK(one.ask().what == answer::known);  // only the first waits: the look-up may hang
    one.found({2});
    CHECK(one.told.back() == std::vector<int>{2});
}

TEST_CASE("address book: where a look-up fails the last that was found is used on") {
    listener one;
    one.ask();
    one.found({1});
    one.now += 21s;
    one.ask();
    one.found({}, "try again");
    CHECK(one.told.back() == std::vector<int>{1});
    CHECK(one.errors.back().empty());
    one.now += 1s;
    CHECK(one.ask().what == answer::known);  // no storm of look-ups
    one.now += 10s;
    CHECK(one.ask().what == answer::stale);
}

TEST_CASE("address book: where nothing was ever found, who waits is told why, and the next looks again") {
    listener one;
    one.ask();
    one.found({}, "unknown");
    CHECK(one.told.back().empty());
    CHECK(one.errors.back() == "unknown");
    CHECK(one.ask().what == answer::look_up);
}

TEST_CASE("address book: a server has moved when an address of before is none any more") {
    listener one;
    auto const again = [&](std::vector<int> addresses) {
        one.now += 11s;
        one.ask();
        return one.found(std::move(addresses));
    };
    CHECK(!again({1, 2}));
    CHECK(!again({2, 1}));     // in another order
    CHECK(!again({1, 2, 3}));  // and one more
    CHECK(!again({}));         // nobody answers
    CHECK(again({1, 3}));
    REQUIRE(one.names.addresses("db.example"));
    CHECK(*one.names.addresses("db.example") == std::vector<int>{1, 3});
    CHECK(!one.names.addresses("other.example"));
}
