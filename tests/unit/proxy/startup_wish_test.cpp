#include "protocol/pg/sqlstate.hpp"
#include "proxy/startup_wish_core.hpp"

#include <doctest/doctest.h>

#include <string>
#include <variant>

using namespace lull;

namespace {

std::string packet(pg::parameter_list const& parameters, std::uint32_t protocol = pg::protocol_3_0) {
    std::string out;
    pg::write_startup(out, parameters, protocol);
    return out;
}

pg::startup_message parsed(std::string const& bytes) {
    return std::get<pg::startup_message>(pg::parse_startup(pg::as_bytes(bytes)));
}

struct reader_of_wishes {
    setting_interner settings;
    startup_wish read(pg::parameter_list const& parameters, std::uint32_t protocol = pg::protocol_3_0) {
        return read_startup_wish(parsed(packet(parameters, protocol)), settings);
    }
    std::string_view sqlstate_of(pg::parameter_list const& parameters) {
        startup_wish const wish = read(parameters);
        return wish.wrong ? wish.wrong->sqlstate : "none";
    }
};

}  // namespace

TEST_CASE("startup wishes: who, where, and with which settings") {
    reader_of_wishes r;
    startup_wish const wish = r.read({{"user", "app"},
                                      {"database", "shop"},
                                      {"TimeZone", "UTC"},
                                      {"options", "-c TimeZone=Asia/Tokyo -c work_mem=3MB"}});
    CHECK(!wish.wrong);
    CHECK(wish.user == "app");
    CHECK(wish.database == "shop");
    REQUIRE(wish.settings->size() == 2);
    CHECK(*find_setting(wish.settings, "timezone") == setting_value("UTC", {}));  // its own parameter wins over one in `options`
    CHECK(*find_setting(wish.settings, "work_mem") == setting_value("3MB", {}));
    CHECK(wish.negotiation.empty());
    startup_wish const plain = r.read({{"user", "app"}});
    CHECK(plain.database == "app");
    CHECK(plain.settings == r.settings.none());
    CHECK(r.read({{"user", "a"}, {"user", "b"}}).user == "b");
}

TEST_CASE("startup wishes: names are cut as PostgreSQL cuts them, so that one role has one limit of failed logins") {
    reader_of_wishes r;
    std::string const longest(63, 'u');
    startup_wish const wish = r.read({{"user", longest + "1"}, {"database", longest + "2"}});
    CHECK(wish.user == longest);
    CHECK(wish.database == longest);
}

TEST_CASE("startup wishes: what PostgreSQL refuses, whoever sends it") {
    reader_of_wishes r;
    CHECK(r.sqlstate_of({{"database", "shop"}}) == pg::sqlstate::invalid_authorization_specification);
    CHECK(r.sqlstate_of({{"user", "app"}, {"replication", "maybe"}}) == pg::sqlstate::invalid_parameter_value);
    CHECK(r.sqlstate_of({{"user", "app"}, {"options", "-W 10"}}) == pg::sqlstate::protocol_violation);
    // What would say anew, of a walsender, whose session it is.
    CHECK(r.sqlstate_of({{"user", "app"}, {"replication", "true"}, {"options", "-c user=postgres"}}) ==
          pg::sqlstate::undefined_object);
    CHECK(r.sqlstate_of({{"user", "app"}, {"replication", "true"}, {"USER", "postgres"}}) == pg::sqlstate::undefined_object);
    CHECK(r.read({{"user", "app"}, {"options", "-W 10"}}).user == "app");  // for the log
}

TEST_CASE("startup wishes: replication keeps its parameters as they came, others do not") {
    reader_of_wishes r;
    CHECK(r.read({{"user", "app"}, {"replication", "database"}, {"Application_Name", "x"}}).parameters ==
          pg::parameter_list{{"Application_Name", "x"}});
    CHECK(r.read({{"user", "app"}, {"replication", "yes"}}).replication == replication_kind::physical);
    startup_wish const off = r.read({{"user", "app"}, {"replication", "off"}, {"application_name", "x"}});
    CHECK(off.replication == replication_kind::none);
    CHECK(off.parameters.empty());
}

TEST_CASE("startup wishes: the version that both speak, and who is told of it") {
    reader_of_wishes r;
    CHECK(r.read({{"user", "app"}}, pg::protocol_3_2).protocol == pg::protocol_3_2);
    CHECK(r.read({{"user", "app"}}, pg::protocol_3_2).negotiation.empty());
    CHECK(r.read({{"user", "app"}}, pg::protocol_3_2 + 7).protocol == pg::protocol_3_2);
    CHECK(!r.read({{"user", "app"}}, pg::protocol_3_2 + 7).negotiation.empty());
    CHECK(r.read({{"user", "app"}, {"_pq_.x", "1"}}).negotiation.find("_pq_.x") != std::string::npos);
}

TEST_CASE("startup book: the same bytes, all of them, are the same wish; any other byte is not") {
    setting_interner settings;
    startup_book book(settings);
    std::string const mine = packet({{"user", "app"}, {"database", "shop"}, {"application_name", "x"}});
    CHECK(!book.find(pg::as_bytes(mine)));
    auto const kept = book.keep(pg::as_bytes(mine + "Q and more"), parsed(mine));
    CHECK(book.find(pg::as_bytes(mine)) == kept);
    CHECK(book.find(pg::as_bytes(mine + "Q and more")) == kept);
    CHECK(kept->packet_bytes == mine.size());
    for (std::size_t n = 0; n < mine.size(); ++n) CHECK(!book.find(pg::as_bytes(std::string_view(mine).substr(0, n))));
    for (std::size_t i = 0; i < mine.size(); ++i) {
        std::string other = mine;
        other[i] ^= 1;
        CHECK(!book.find(pg::as_bytes(other)));
    }
}

TEST_CASE("startup book: a wrong packet stays wrong") {
    setting_interner settings;
    startup_book book(settings);
    std::string const wrong = packet({{"user", "app"}, {"replication", "maybe"}});
    CHECK(book.keep(pg::as_bytes(wrong), parsed(wrong))->wrong);
    CHECK(book.find(pg::as_bytes(wrong))->wrong);
}

TEST_CASE("startup book: strangers do not fill it") {
    setting_interner settings;
    startup_book book(settings);
    for (int i = 0; i < 2'000; ++i) {
        std::string const one = packet({{"user", "app" + std::to_string(i)}});
        CHECK(book.keep(pg::as_bytes(one), parsed(one))->user == "app" + std::to_string(i));
        CHECK(book.find(pg::as_bytes(one))->user == "app" + std::to_string(i));
    }
    CHECK(book.size() <= startup_book::most);
    std::size_t const before = book.size();
    std::string const longer = packet({{"user", std::string(startup_book::longest, 'u')}});
    CHECK(book.keep(pg::as_bytes(longer), parsed(longer))->packet_bytes > startup_book::longest);
    CHECK(!book.find(pg::as_bytes(longer)));
    CHECK(book.size() == before);
}
