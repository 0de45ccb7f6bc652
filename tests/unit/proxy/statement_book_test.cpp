#include "proxy/statement_book.hpp"

#include <doctest/doctest.h>

using namespace lull;

namespace {

prepared text(std::string what) {
    auto made = std::make_shared<prepared_text>();
    made->text = std::move(what);
    return made;
}

}  // namespace

TEST_CASE("what was told of a name is of what the name means now") {
    statement_book book;
    CHECK(!book.put("s", text("SELECT 1")));
    std::uint32_t const first = book.at("s")->meaning;
    book.told(first)->columns = 7;
    book.put("other", text("SELECT 1"));
    CHECK(book.told(book.at("other")->meaning)->columns == 0);
    CHECK(book.put("s", text("SELECT 2")));
    CHECK(!book.told(first));
    CHECK(book.told(book.at("s")->meaning)->columns == 0);
    CHECK(!book.told(0));
}

TEST_CASE("what was told of the unnamed statement holds until its next Parse, whatever becomes of the names") {
    statement_book book;
    CHECK(book.unnamed() == 0);
    std::uint32_t const meaning = book.describe_unnamed();
    CHECK(meaning != 0);
    CHECK(book.describe_unnamed() == meaning);
    book.told(meaning)->columns = 7;
    book.put("s", text("SELECT 1"));
    CHECK(book.at("s")->meaning != meaning);
    CHECK(book.take("s"));
    CHECK(book.size() == 0);
    CHECK(book.told(book.unnamed())->columns == 7);

    book.parse_unnamed();
    CHECK(book.unnamed() == 0);
    CHECK(!book.told(meaning));
    book.put("s", text("SELECT 1"));
    book.describe_unnamed();
    book.parse_unnamed();
    CHECK(book.contains("s"));
}
