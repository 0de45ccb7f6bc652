#include "proxy/channel_book_core.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>

using namespace lull;

namespace {

class recorder final : public channel_port {
  public:
    void listen(std::string const& database, std::string const& channel, std::uint64_t ticket) override {
        said += "listen " + database + "." + channel + " " + std::to_string(ticket) + "; ";
    }
    void unlisten(std::string const& database, std::string const& channel) override {
        said += "unlisten " + database + "." + channel + "; ";
    }
    std::string take() { return std::exchange(said, {}); }
    std::string said;
};

using clients = std::vector<channel_book::client>;

}  // namespace

TEST_CASE("the listener is asked for a channel once, and told when nobody is left") {
    recorder port;
    channel_book book(port);
    CHECK(book.join("shop", "news", 1) == channel_book::standing::asked);
    CHECK(book.join("shop", "news", 2) == channel_book::standing::asked);
    CHECK(book.join("shop", "news", 1) == channel_book::standing::asked);
    CHECK(port.take() == "listen shop.news 1; ");
    CHECK(book.answered("shop", "news", 1, channel_outcome::listening) == clients{1, 2});
    CHECK(book.join("shop", "news", 3) == channel_book::standing::listening);
    CHECK(book.listeners("shop", "news") == clients{1, 2, 3});
    CHECK(book.listeners("other", "news").empty());
    CHECK(book.listening().at("shop") == 3);
    book.leave("shop", "news", 1);
    book.leave("shop", "news", 1);
    book.leave("shop", "news", 3);
    CHECK(port.take() == "");
    book.leave("shop", "news", 2);
    CHECK(port.take() == "unlisten shop.news; ");
    CHECK_FALSE(book.knows("shop"));
}

TEST_CASE("an answer to an asking that was given up confirms nothing") {
    recorder port;
    channel_book book(port);
    book.join("shop", "news", 1);
    book.leave("shop", "news", 1);
    book.join("shop", "news", 1);
    CHECK(port.take() == "listen shop.news 1; unlisten shop.news; listen shop.news 2; ");
    CHECK(book.answered("shop", "news", 1, channel_outcome::listening).empty());
    CHECK(book.join("shop", "news", 2) == channel_book::standing::asked);
    CHECK(book.answered("shop", "news", 2, channel_outcome::listening) == clients{1, 2});
}

TEST_CASE("who is refused is no longer in the book, and may ask again") {
    recorder port;
    channel_book book(port);
    book.join("shop", "news", 1);
    CHECK(book.answered("shop", "news", 1, channel_outcome::full) == clients{1});
    CHECK(book.listeners("shop", "news").empty());
    CHECK(book.join("shop", "news", 1) == channel_book::standing::asked);
    CHECK(port.take() == "listen shop.news 1; listen shop.news 2; ");
}

TEST_CASE("a lost connection ends what was heard, and not what is still to be answered") {
    recorder port;
    channel_book book(port);
    book.join("shop", "a", 1);
    (void)book.answered("shop", "a", 1, channel_outcome::listening);
    book.join("shop", "b", 2);
    CHECK(book.lost("shop") == std::set<channel_book::client>{1});
    CHECK(book.lost("other").empty());
    CHECK(book.answered("shop", "b", 2, channel_outcome::listening) == clients{2});
    CHECK(book.join("shop", "a", 1) == channel_book::standing::asked);
}

TEST_CASE("the server hears of a channel once for all workers, and of no more channels than the limit") {
    channel_union all;
    CHECK(all.ask("a", 0, 1) == channel_union::verdict::make);
    CHECK(all.empty());
    all.keep("a", 0);
    CHECK(all.ask("a", 1, 1) == channel_union::verdict::has);
    CHECK(all.ask("b", 1, 1) == channel_union::verdict::full);
    CHECK(all.ask("b", 1, 2) == channel_union::verdict::make);
    CHECK(*all.workers_of("a") == std::set<std::size_t>{0, 1});
    CHECK(all.workers_of("b") == nullptr);
    CHECK(all.all_workers() == std::set<std::size_t>{0, 1});
    CHECK_FALSE(all.drop("a", 0));
    CHECK_FALSE(all.drop("a", 0));
    CHECK(all.drop("a", 1));
    CHECK_FALSE(all.drop("a", 1));
    CHECK(all.empty());
}
