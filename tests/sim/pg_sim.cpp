#include "tests/sim/pg_sim.hpp"

#include <algorithm>

namespace lull::sim {

simulation::simulation(std::uint64_t seed, options how)
    : dice_(seed), how_{how}, worker_(book_, journal_, dice_, names_, how_, violations_) {
    clients_to_come_ = 2 + dice_.roll(6);
}

void simulation::flip() {
    using routing::mode;
    mode to = mode_;
    switch (mode_) {
        case mode::read_write:
            to = mode::draining;
            break;
        case mode::draining:
            if (how_.faults && dice_.one_in(3)) {
                bool const terminate = dice_.one_in(2);
                worker_.say(terminate ? "terminates writers" : "cancels writers");
                worker_.end_writers(terminate);
            }
            if (worker_.anyone_writes()) return;
            to = dice_.one_in(4) ? mode::read_write : mode::sealed;
            break;
        case mode::sealed:
            to = mode::reopening;
            break;
        case mode::reopening:
            to = mode::read_write;
            break;
    }
    worker_.say("flip to " + std::to_string(static_cast<int>(to)));
    book_.sealed = to == mode::sealed || to == mode::reopening;
    // From before the first hears that the site is closed to before it hears that it is open.
    if (to == mode::read_write) {
        journal_.close();
        while (journal_.pending()) journal_.replay(book_);
    } else if (mode_ == mode::read_write) {
        journal_.open();
    }
    mode_ = to;
    if (how_.broken == sabotage::stale_snapshot) return;
    worker_.world().flip(to);
    worker_.tell_snapshot();
}

void simulation::step() {
    if (clients_to_come_ > 0 && dice_.one_in(10)) {
        --clients_to_come_;
        return worker_.arrive();
    }
    switch (dice_.roll(40)) {
        case 0:
            if (dice_.one_in(2)) flip();
            return;
        case 1:
            return worker_.pass(std::chrono::milliseconds(dice_.roll(40'000)));
        default:
            return worker_.step();
    }
}

/// Faults stop and the site opens.
void simulation::finish() {
    how_.faults_over = true;
    worker_.say("faults stop");
    while (mode_ != routing::mode::read_write) {
        for (int i = 0; i < 3000 && worker_.anyone_writes(); ++i) {
            worker_.end_writers(true);
            worker_.move_all();
        }
        if (worker_.anyone_writes()) {
            violations_.push_back("a writer does not end");
            return;
        }
        flip();
    }
    worker_.run_out();
    judge_journal(book_, violations_);
}

std::string simulation::run() {
    std::size_t const steps = 200 + dice_.roll(1500);
    auto const broken = [&] { return !violations_.empty() || !book_.violations.empty(); };
    for (std::size_t i = 0; i < steps && !broken(); ++i) step();
    if (!broken()) finish();
    for (auto const& [what, times] : book_.executed)
        if (times > 1) violations_.push_back("executed twice: " + what);
    if (!book_.violations.empty()) return book_.violations.front();
    return violations_.empty() ? std::string() : violations_.front();
}

}  // namespace lull::sim
