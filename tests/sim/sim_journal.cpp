#include "tests/sim/sim_journal.hpp"

#include "routing/break_points.hpp"

namespace lull::sim {

namespace {

/// The constant in it, by which the ledger knows a write.
std::string constant_of(journal_entry const& e) {
    auto const from = e.text.find('\'');
    auto const to = e.text.find('\'', from + 1);
    return from == std::string::npos || to == std::string::npos ? std::string()
                                                                : e.text.substr(from + 1, to - from - 1);
}

}  // namespace

void sim_journal::write(std::string const& bytes, bool durable) {
    if (disk_.empty()) disk_ = journal_header;
    disk_ += bytes;
    if (durable) durable_ = disk_.size();
}

journal_outcome sim_journal::keep(journal_entry entry, ledger& book, dice& d) {
    if (!open_) return journal_outcome::closed;
    if (d.one_in(10)) return d.one_in(2) ? journal_outcome::full : journal_outcome::failed;
    entry.number = next_++;
    std::string bytes;
    write_entry(bytes, entry);
    write(bytes, true);
    book.journaled.insert(constant_of(entry));
    return journal_outcome::kept;
}

void sim_journal::close() {
    open_ = false;
    replaying_ = false;
}

void sim_journal::begin() {
    contents_ = read_journal(disk_);
    disk_.resize(contents_.good_bytes);
    durable_ = std::min(durable_, disk_.size());
    if (!contents_.entries.empty()) next_ = contents_.entries.back().number + 1;
    at_ = 0;
    next_act_ = act::run;
    replaying_ = true;
}

void sim_journal::replay(ledger& book) {
    if (!pending()) return;
    if (!replaying_) begin();
    if (at_ == contents_.entries.size()) {
        disk_.clear();
        durable_ = 0;
        replaying_ = false;
        return;
    }
    journal_entry const& e = contents_.entries[at_];
    if (contents_.verdicts.contains(e.number)) {
        ++at_;
        return;
    }
    std::string bytes;
    switch (next_act_) {
        case act::run:
            xid_ = std::to_string(++xids_);
            next_act_ = act::intend;
            if (contents_.intent && contents_.intent->number == e.number && !broken("blind_replay")) {
                // Its COMMIT was on its way: did it happen?
                if (book.transactions.contains(contents_.intent->xid)) next_act_ = act::settle;
                contents_.intent.reset();
            }
            return;
        case act::intend:
            write_intent(bytes, {e.number, xid_, "7/00000001"});
            write(bytes, true);
            next_act_ = act::commit;
            return;
        case act::commit: {
            std::string const what = constant_of(e);
            if (book.sealed) book.violations.push_back("committed while sealed: " + what);
            ++book.executed[what];
            book.committed.insert(what);
            ++book.commits;
            book.transactions.insert(xid_);
            next_act_ = act::settle;
            return;
        }
        case act::settle:
            write_verdict(bytes, {e.number, journal_result::done, {}, {}});
            write(bytes, false);
            next_act_ = act::run;
            ++at_;
            return;
    }
}

void sim_journal::crash(journal_entry const* under_way, ledger& book, dice& d) {
    // The server had the COMMIT already, and nobody heard of it.
    if (replaying_ && pending() && at_ < contents_.entries.size() && next_act_ == act::commit && d.one_in(2))
        replay(book);
    if (open_ && under_way) {
        journal_entry entry = *under_way;
        entry.number = next_++;
        std::string bytes;
        write_entry(bytes, entry);
        write(bytes, false);
    }
    if (d.one_in(2)) disk_.resize(durable_ + d.roll(disk_.size() - durable_ + 1));
    journal_contents const left = read_journal(disk_);
    disk_.resize(left.good_bytes);
    if (disk_.size() <= journal_header.size() && left.entries.empty()) disk_.clear();
    durable_ = disk_.size();
    if (!left.entries.empty()) next_ = left.entries.back().number + 1;
    open_ = replaying_ = false;
    // What was begun when the process died is rolled back.
    next_act_ = act::run;
}

}  // namespace lull::sim
