// Backends that may still write although nobody is connected to them any more: of connections that broke, and
// of the process before this one. Sealing waits until the primary has none of them; the primary is watched
// on.
#include "routing/maintenance.hpp"

#include <algorithm>

namespace lull::routing {

namespace {

constexpr std::size_t max_waited_for = 50;
constexpr std::size_t max_broken = 4096;
constexpr std::ptrdiff_t max_marks = 200;

}  // namespace

void maintenance::take_broken(std::vector<broken_session> const& more) {
    for (auto const& b : more) {
        if (b.pid == 0) {  // it was lost before it told: found among all of Lull's, by its age
            leftovers_before_ = at_.now;
            continue;
        }
        if (broken_.size() < max_broken) {
            broken_.push_back(b);
        } else {
            // More than one keeps in mind: ask for all of them together, by their age.
            leftovers_before_ = at_.now;
            return;
        }
    }
}

void maintenance::wait_for(std::string const& who) {
    auto& list = record_.waited_for;
    if (list.size() < max_waited_for && std::find(list.begin(), list.end(), who) == list.end())
        list.push_back(who);
}

bool maintenance::suspicious() const {
    bool const prepared = prepared_policy_ == config::prepared_policy::wait && !prepared_.empty();
    return provable_ && (!broken_.empty() || leftovers_before_ || !writing_.empty() || prepared);
}

/// One line each; empty also while nobody has looked yet.
std::vector<std::string> maintenance::suspects() const {
    std::vector<std::string> lines;
    for (auto const& b : broken_) lines.push_back("its connection broke, the server still has it: " + b.who);
    for (auto const& w : writing_)
        lines.push_back("taken for a reader, the server says that it writes: " + w.who);
    for (auto const& l : leftovers_) lines.push_back("left over from before the restart: " + l);
    if (prepared_policy_ == config::prepared_policy::wait)
        lines.insert(lines.end(), prepared_.begin(), prepared_.end());
    return lines;
}

void maintenance::ask_primary(bool nudge) {
    primary_asked_ = ticket{++tickets_};
    watch_at_ = at_.now + timing_.watch_primary;
    broken_asked_ = broken_.size();
    leftovers_asked_ = leftovers_before_;
    auto asked = broken_;
    if (end_broken_ != effect::session_end::no)
        for (auto const& w : writing_) asked.push_back({w.pid, at_.now, w.who});
    effects_.push_back(
        effect::ask_primary{*primary_asked_, leftovers_before_, std::move(asked), end_broken_, nudge});
    end_broken_ = effect::session_end::no;
}

void maintenance::watch_primary() {
    if (!provable_ || primary_asked_) return;
    bool const waits = drained_ && suspicious() && phase_ == phase::draining;
    if (waits || end_broken_ != effect::session_end::no || at_.now >= watch_at_) ask_primary(false);
}

void maintenance::suspects_seen(event::primary_seen const& s) {
    std::vector<broken_session> left;
    for (std::size_t i = 0; i < broken_.size(); ++i) {
        if (i >= broken_asked_) {
            left.push_back(std::move(broken_[i]));
            continue;
        }
        auto const there = std::find_if(s.broken.begin(), s.broken.end(), [&](broken_session const& b) {
            return b.pid == broken_[i].pid && b.at == broken_[i].at;
        });
        if (there != s.broken.end()) left.push_back(*there);
    }
    broken_ = std::move(left);
    broken_asked_ = 0;
    leftovers_ = s.leftovers;
    if (leftovers_.empty() && leftovers_asked_ == leftovers_before_) leftovers_before_.reset();
}

/// No worker knows of a writer any more: whoever has a transaction id all the same was misjudged, and is
/// waited for. Those of the first look only: what comes later was let pass, and would come without end.
void maintenance::own_writes_seen(event::primary_seen const& s) {
    if (!drained_ || proved_) return writing_.clear();
    if (!looked_for_writing_) {
        looked_for_writing_ = true;
        writing_ = s.writing;
        if (!writing_.empty() && phase_ == phase::sealing) phase_ = phase::draining;
        return;
    }
    std::erase_if(writing_, [&](auto const& w) {
        return std::none_of(s.writing.begin(), s.writing.end(),
                            [&](auto const& now) { return now.pid == w.pid && now.xid == w.xid; });
    });
}

/// While sealed: whose transaction ids are in use. What becomes of them can be asked later.
void maintenance::xids_seen(event::primary_seen const& s) {
    bool news = false;
    for (auto const& seen : s.xids) {
        auto& list = record_.marks;
        auto const known =
            std::find_if(list.begin(), list.end(), [&](xid_mark const& m) { return m.xid == seen.xid; });
        if (known != list.end()) {
            // Its session had just begun, and nobody had told yet whose it is.
            if (known->migration || !seen.migration) continue;
            *known = seen;
            news = true;
            continue;
        }
        auto const kind = std::count_if(list.begin(), list.end(), [&](xid_mark const& m) {
            return m.migration == seen.migration && m.through_lull == seen.through_lull;
        });
        if (kind >= max_marks) continue;
        list.push_back(seen);
        if (seen.migration) continue;
        news = true;
        if (seen.through_lull)
            say(effect::loudness::notice, "let_pass",
                "writes through Lull while it is sealed: a temporary table, a NOTIFY, or what was taken for "
                "a "
                "read: " +
                    seen.who);
        else
            say(effect::loudness::warning, "outsider", "in use past Lull while it is sealed: " + seen.who);
    }
    if (news && !pending_) persist(record_, then::nothing);
}

}  // namespace lull::routing
