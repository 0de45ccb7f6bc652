#include "proxy/record_homes_core.hpp"

#include <doctest/doctest.h>

using namespace lull;
using routing::maintenance_record;
using routing::phase;

namespace {

using names = std::vector<std::string>;

maintenance_record record(phase p, names databases, std::uint64_t epoch = 7) {
    maintenance_record r;
    r.phase = p;
    r.epoch = routing::epoch{epoch};
    r.databases = std::move(databases);
    return r;
}

std::map<std::string, config::site> sites(std::map<std::string, names> const& databases) {
    std::map<std::string, config::site> out;
    for (auto const& [name, list] : databases) {
        out[name].name = name;
        out[name].databases = list;
    }
    return out;
}

}  // namespace

TEST_CASE("a closed site that is called otherwise now stays closed, with what it is closed for") {
    for (phase const p : {phase::draining, phase::sealing, phase::sealed, phase::reopening}) {
        auto const homes = find_homes({{"shop", record(p, {"shop", "stock"})}}, sites({{"store", {"stock", "shop"}}}));
        CHECK(homes.problem.empty());
        CHECK(homes.records.size() == 1);
        CHECK(homes.records.at("store") == record(p, {"shop", "stock"}));
        CHECK(homes.adopted.at("store") == "shop");
        REQUIRE(homes.notes.size() == 1);
        CHECK(homes.notes[0].find("`lull maintenance off store`") != std::string::npos);
    }
    auto const again = find_homes({{"shop", record(phase::sealed, {"shop"}, 7)}, {"store", record(phase::read_write, {}, 9)}},
                                  sites({{"store", {"shop"}}}));
    CHECK(again.records.at("store").phase == phase::sealed);
    CHECK(again.records.at("store").epoch == routing::epoch{9});
}

TEST_CASE("an open site, and one that has not moved, are left as they are") {
    maintenance_records const records{{"shop", record(phase::read_write, {"shop"})}, {"blog", record(phase::sealed, {"blog"})}};
    auto const homes = find_homes(records, sites({{"store", {"shop"}}, {"blog", {"blog", "more"}}}));
    CHECK(homes.problem.empty());
    CHECK(homes.records == records);
    CHECK(homes.notes.empty());
}

TEST_CASE("a closed site whose databases nobody has is told of and kept") {
    auto gone = record(phase::sealed, {"shop"});
    gone.replicas = {{"10.0.0.2:5432", std::nullopt}};
    auto const homes = find_homes({{"shop", gone}}, sites({{"blog", {"blog"}}}));
    CHECK(homes.problem.empty());
    CHECK(homes.records.at("shop") == gone);
    REQUIRE(homes.notes.size() == 1);
    CHECK(homes.notes[0].find("10.0.0.2:5432") != std::string::npos);
    CHECK(find_homes(homes.records, sites({{"later", {"shop"}}})).adopted.at("later") == "shop");
}

TEST_CASE("where the databases of a closed site are spread or taken over nothing may be opened") {
    auto const closed = record(phase::sealed, {"shop", "stock"});
    auto owing = record(phase::read_write, {"blog"});
    owing.replicas = {{"10.0.0.2:5432", std::nullopt}};
    auto const refused = [&](maintenance_records records, std::map<std::string, names> const& databases) {
        auto const homes = find_homes(std::move(records), sites(databases));
        CHECK(homes.fix.find("lull maintenance off shop") != std::string::npos);
        return !homes.problem.empty();
    };
    CHECK(refused({{"shop", closed}}, {{"a", {"shop"}}, {"b", {"stock"}}}));
    CHECK(refused({{"shop", closed}}, {{"shop", {"shop"}}, {"b", {"stock"}}}));
    CHECK(refused({{"shop", closed}, {"blog", record(phase::sealed, {"blog"})}}, {{"blog", {"blog", "shop", "stock"}}}));
    CHECK(refused({{"shop", closed}, {"blog", owing}}, {{"blog", {"blog", "shop", "stock"}}}));
    CHECK(refused({{"shop", record(phase::sealed, {})}}, {{"a", {"a"}}, {"b", {"b"}}}));
}

TEST_CASE("a closed site whose databases were not noted may be any of which nothing is known") {
    auto const homes = find_homes({{"shop", record(phase::sealed, {})}, {"blog", record(phase::read_write, {})}},
                                  sites({{"store", {"shop"}}, {"blog", {"blog"}}}));
    CHECK(homes.adopted.at("store") == "shop");
    CHECK(homes.records.at("blog").phase == phase::read_write);
}

TEST_CASE("a record keeps the databases that no site has any more") {
    config::site shop;
    shop.databases = {"shop"};
    CHECK(databases_to_keep(shop, {"shop", "gone", "blog"}, sites({{"shop", {"shop"}}, {"blog", {"blog"}}})) == names{"shop", "gone"});
}
