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
