#include "tests/sim/sim_journal.hpp"

#include <algorithm>
#include <utility>

namespace lull::sim {

namespace {

constexpr config::milliseconds never{std::chrono::hours(1)};

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
    replay_.reset();
}

void sim_journal::begin() {
    journal_contents contents = read_journal(disk_);
    disk_.resize(contents.good_bytes);
    durable_ = std::min(durable_, disk_.size());
    if (!contents.entries.empty()) next_ = contents.entries.back().number + 1;
    replay_.emplace(std::move(contents), never, routing::instant{});
}

/// What a server would say.
replay_answer sim_journal::ask(std::string const& sql, ledger& book) {
    auto const is = [&](char const* what) { return sql.find(what) != std::string::npos; };
    if (sql == "COMMIT") {
        if (book.sealed) book.violations.push_back("committed while sealed: " + running_);
        ++book.executed[running_];
        book.committed.insert(running_);
        ++book.commits;
        book.transactions.insert(xid_);
        return {.tag = "COMMIT"};
    }
    if (is("pg_xact_status")) {
        auto const from = sql.find('\'') + 1;
        std::string const xid = sql.substr(from, sql.find('\'', from) - from);
        return {.value = book.transactions.contains(xid) ? "committed" : "aborted"};
    }
    if (is("pg_current_xact_id")) return {.value = xid_ = std::to_string(++xids_)};
    if (is("pg_control_system")) return {.value = "7/00000001"};
    return {};
}

void sim_journal::replay(ledger& book) {
    if (!pending()) return;
    if (!replay_) begin();
    replay_next const next = replay_->next();
    routing::instant const now{};
    if (std::holds_alternative<replay_act::connect>(next)) {
        replay_->connected({}, now);
    } else if (auto const* a = std::get_if<replay_act::ask>(&next)) {
        replay_->answered(ask(a->sql, book), now);
    } else if (auto const* r = std::get_if<replay_act::run>(&next)) {
        running_ = constant_of(*r->entry);
        replay_->answered({.tag = r->entry->tag}, now);
    } else if (auto const* w = std::get_if<replay_act::record>(&next)) {
        write(w->bytes, w->durable);
        replay_->recorded({}, now);
    } else if (std::holds_alternative<replay_act::pause>(next)) {
        replay_->paused(now);
    } else {
        disk_.clear();
        durable_ = 0;
        replay_.reset();
    }
}

void sim_journal::crash(journal_entry const* under_way, ledger& book, dice& d) {
    // The server had the COMMIT already, and nobody heard of it.
    if (replay_ && pending()) {
        replay_next const next = replay_->next();
        auto const* a = std::get_if<replay_act::ask>(&next);
        if (a && a->sql == "COMMIT" && d.one_in(2)) replay(book);
    }
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
    open_ = false;
    replay_.reset();  // what was begun when the process died is rolled back
}

}  // namespace lull::sim
