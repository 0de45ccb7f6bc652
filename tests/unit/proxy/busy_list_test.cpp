#include "proxy/busy_list.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <set>

using namespace lull;

namespace {

struct one {
    std::uint32_t busy_slot = not_busy;
    int looked = 0;
};

}  // namespace

TEST_CASE("whoever stays for a round is looked at once in it, whoever leaves is not there any more") {
    std::mt19937 dice(7);
    std::vector<std::unique_ptr<one>> all;
    for (int i = 0; i < 12; ++i) all.push_back(std::make_unique<one>());
    busy_list<one> list;
    std::set<one*> in;
    std::set<one*> stayed;  // since this round began
    for (int step = 0; step < 30'000; ++step) {
        one& o = *all[dice() % all.size()];
        switch (dice() % 4) {
            case 0:
                CHECK(list.add(o) == in.insert(&o).second);
                break;
            case 1:
                list.remove(o);
                in.erase(&o);
                stayed.erase(&o);
                o.looked = 0;
                break;
            default:
                if (one* const next = list.next()) {
                    CHECK(in.contains(next));
                    CHECK(++next->looked <= 1);
                } else {
                    for (one* s : stayed) CHECK(s->looked == 1);
                    for (auto const& each : all) each->looked = 0;
                    stayed = in;
                }
        }
        CHECK(list.size() == in.size());
        for (one* each : list) CHECK(in.contains(each));
        for (auto const& each : all) CHECK((each->busy_slot != not_busy) == in.contains(each.get()));
    }
}

TEST_CASE("a round of those that leave as they are looked at is as long as any other") {
    std::vector<std::unique_ptr<one>> all;
    busy_list<one> list;
    for (int i = 0; i < 1000; ++i) list.add(*all.emplace_back(std::make_unique<one>()));
    for (int step = 0; step < 10; ++step) {
        for (std::size_t n = list.share(10); n > 0; --n) {
            one* const next = list.next();
            if (!next) break;
            list.remove(*next);
        }
    }
    CHECK(list.empty());
    CHECK(list.next() == nullptr);
    CHECK(list.share(10) == 1);
}
