#include "tests/sim/sim_fence.hpp"

#include <algorithm>

namespace lull::sim {

using namespace routing;

maintenance_event sim_fence::carry_out(effect::ask_fence const& order, dice& dice, bool calm) {
    event::fence_seen seen{.ticket = order.ticket};
    bool const known = !order.settings.empty();
    if (order.order == effect::fence_order::raise) {
        if (!known) {
            fence_setting s{.database = "shop", .read_only = stands_};
            if (stands_) s.before = "on";
            seen.unknown.push_back(s);
            return seen;
        }
        seen.changed = !stands_;
        stands_ = true;
        to_end_.clear();
        end(false, seen, dice, calm);
        return seen;
    }
    seen.changed = known && stands_;
    if (known) stands_ = order.settings.front().before == "on";
    if (seen.changed || order.order == effect::fence_order::lower_unsure) {
        to_end_.clear();
        for (session const& s : sessions_) to_end_.push_back(s.number);
    }
    end(true, seen, dice, calm);
    return seen;
}

void sim_fence::end(bool read_only_ones, event::fence_seen& seen, dice& dice, bool calm) {
    for (auto s = sessions_.begin(); s != sessions_.end();) {
        bool const due = read_only_ones ? std::ranges::count(to_end_, s->number) > 0 : !s->read_only;
        if (!due) {
            ++s;
            continue;
        }
        std::string const name = "session " + std::to_string(s->number);
        if (!calm && dice.one_in(4)) {
            seen.left.push_back(name);
            ++s;
            continue;
        }
        seen.ended.push_back(name);
        s = sessions_.erase(s);
    }
}

bool sim_fence::outsider(dice& dice) {
    constexpr std::size_t most = 5;
    if (sessions_.size() < most && dice.one_in(2)) {
        sessions_.push_back({.number = ++numbers_, .read_only = stands_});
        return false;
    }
    if (sessions_.empty()) return false;
    auto const at = sessions_.begin() + static_cast<std::ptrdiff_t>(dice.roll(sessions_.size()));
    if (dice.one_in(4)) {
        sessions_.erase(at);
        return false;
    }
    if (at->read_only) return false;
    at->writes = !at->writes;  // its COMMIT
    return !at->writes;
}

}  // namespace lull::sim
