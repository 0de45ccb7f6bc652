// Why a site is closed: reasons with names, each set and cleared alone, some of them on a lease.
#include "routing/maintenance.hpp"

#include <algorithm>

namespace lull::routing {

namespace {

constexpr std::size_t max_claims = 16;

std::vector<window_request const*> all_claims(maintenance_record const& r) {
    std::vector<window_request const*> all;
    if (r.phase == phase::read_write) return all;
    all.push_back(&r.request);
    for (auto const& c : r.others) all.push_back(&c);
    return all;
}

/// How far from open a restart with this begins.
int distance(phase p) {
    switch (p) {
        case phase::read_write:
            return 0;
        case phase::reopening:
            return 1;
        case phase::draining:
        case phase::sealing:
        case phase::sealed:
        case phase::recovering:
            return 2;
    }
    return 2;
}

}  // namespace

bool opens(maintenance_record const& before, maintenance_record const& after) {
    return distance(after.phase) < distance(before.phase);
}

std::optional<wall_time> expected_end(maintenance_record const& r) {
    std::optional<wall_time> latest = r.request.until;
    for (auto const& c : r.others) {
        if (!c.until || !latest) return std::nullopt;
        latest = std::max(*latest, *c.until);
    }
    return latest;
}

window_request const* find_claim(maintenance_record const& r, std::string_view as) {
    for (auto const* c : all_claims(r))
        if (c->as == as) return c;
    return nullptr;
}

/// The site is not open. A reason that is there already is renewed; it has a new holder where one of them has
/// a lease, and the lease of the old one has ended or was his own.
void maintenance::claim(window_request const& wanted) {
    if (phase_ == phase::reopening || pending_) return;
    maintenance_record r = record_;
    auto* const known = r.request.as == wanted.as ? &r.request : [&]() -> window_request* {
        auto const it =
            std::find_if(r.others.begin(), r.others.end(), [&](auto const& c) { return c.as == wanted.as; });
        return it == r.others.end() ? nullptr : &*it;
    }();
    if (!known) {
        if (r.others.size() + 1 >= max_claims)
            return fail(
                "there are " + std::to_string(max_claims) + " reasons for " + site_ + " to be closed already",
                "clear one: lull maintenance off " + site_ + " --as NAME");
        r.others.push_back(wanted);
        r.others.back().since = at_.wall;
        say(effect::loudness::notice, "claimed",
            "one more reason to be closed: " + wanted.as +
                (wanted.reason.empty() ? "" : " (" + wanted.reason + ")"));
        return persist(std::move(r), then::claims);
    }
    auto const held = leases_.find(wanted.as);
    bool const live = held != leases_.end() && !held->second.lapsed;
    if (live && known->owner != wanted.owner) return;
    if (known->lease.count() == 0 && wanted.lease.count() == 0) return;
    auto const since = known->since;
    auto next = wanted;
    next.since = since;
    // How the site was entered is decided.
    next.drain_timeout = known->drain_timeout;
    next.on_deadline = known->on_deadline;
    next.freeze = known->freeze;
    if (next == *known) return renew(wanted.as);
    *known = std::move(next);
    leases_.erase(wanted.as);
    say(effect::loudness::notice, "claimed", wanted.as + " is held by " + wanted.owner + " now");
    persist(std::move(r), then::claims);
}

/// True: that is all there is to do; the site stays as it is.
bool maintenance::drop_claim(std::string const& as) {
    if (as.empty() || phase_ == phase::read_write || phase_ == phase::reopening) return false;
    auto const* const known = find_claim(record_, as);
    if (!known) return true;
    if (record_.others.empty()) return false;
    if (pending_) return true;
    maintenance_record r = record_;
    if (r.request.as == as) {
        // Whose turn it is now has no say in how the site was entered.
        auto next = r.others.front();
        next.drain_timeout = r.request.drain_timeout;
        next.on_deadline = r.request.on_deadline;
        next.freeze = r.request.freeze;
        r.request = std::move(next);
        r.others.erase(r.others.begin());
    } else {
        std::erase_if(r.others, [&](auto const& c) { return c.as == as; });
    }
    say(effect::loudness::notice, "cleared",
        as + " is no reason any more; closed still because of " + r.request.as);
    persist(std::move(r), then::claims);
    return true;
}

void maintenance::renew(std::string const& as) {
    auto const* const known = find_claim(record_, as);
    auto const held = leases_.find(as);
    if (!known || held == leases_.end()) return;
    if (held->second.lapsed) say(effect::loudness::notice, "lease_renewed", as + " is alive again");
    held->second = {.ends = at_.now + known->lease};
}

/// A lease for each claim that has one and no other; whoever holds it has its whole length from now.
void maintenance::keep_leases() {
    std::map<std::string, lease> kept;
    for (auto const* c : all_claims(record_)) {
        if (c->lease.count() == 0) continue;
        auto const known = leases_.find(c->as);
        kept[c->as] = known != leases_.end() ? known->second : lease{.ends = at_.now + c->lease};
    }
    leases_ = std::move(kept);
}

void maintenance::watch_claims() {
    if (phase_ == phase::read_write || phase_ == phase::reopening) return;
    for (auto& [as, l] : leases_) {
        auto const* const c = find_claim(record_, as);
        if (!c || at_.now < l.ends || (l.lapsed && at_.now < l.shout_at)) continue;
        l.lapsed = true;
        l.shout_at = at_.now + timing_.shout_again;
        std::string const who = as + (c->owner.empty() ? "" : ", held by " + c->owner) + ",";
        if (c->on_lease_end == lease_end::reopen) {
            say(effect::loudness::warning, "lease_ended",
                "the lease of " + who + " was not renewed: it is cleared, as was chosen");
            effects_.push_back(effect::let_go{as});
            continue;
        }
        say(effect::loudness::error, "lease_ended",
            "the lease of " + who + " was not renewed; " + site_ +
                " STAYS CLOSED, as was chosen. When it may open: lull maintenance off " + site_ + " --as " +
                as);
        tell(effect::turn::overdue);
    }
    if (!overdue(at_.wall)) return shout_at_.reset();
    if (shout_at_ && at_.now < *shout_at_) return;
    shout_at_ = at_.now + timing_.shout_again;
    auto const late = std::chrono::duration_cast<std::chrono::seconds>(at_.wall - *expected_end(record_));
    say(effect::loudness::warning, "overdue",
        "closed " + std::to_string(late.count()) + " s longer than was expected" +
            (record_.request.owner.empty() ? "" : ", by " + record_.request.owner));
    tell(effect::turn::overdue);
}

bool maintenance::overdue(wall_time now) const {
    if (phase_ == phase::read_write || phase_ == phase::reopening) return false;
    auto const end = expected_end(record_);
    return end && now >= *end;
}

void maintenance::tell(effect::turn t) {
    effects_.push_back(effect::tell{t});
}

std::vector<claim_view> maintenance::claims(instant now) const {
    std::vector<claim_view> out;
    for (auto const* c : all_claims(record_)) {
        claim_view v{*c, std::nullopt, false};
        if (auto const l = leases_.find(c->as); l != leases_.end()) {
            v.lapsed = l->second.lapsed;
            auto const left = std::chrono::duration_cast<config::milliseconds>(l->second.ends - now);
            v.lease_left = std::max(left, config::milliseconds(0));
        }
        out.push_back(std::move(v));
    }
    return out;
}

}  // namespace lull::routing
