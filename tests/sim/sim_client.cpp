// What a client of the simulation makes of what it hears.
#include "tests/sim/sim_worker.hpp"

#include <algorithm>

namespace lull::sim {

using namespace wire;

namespace {

/// It has what may end one in it, as text.
bool ends_block(operation const& op) {
    return op.bytes.find("commit") != std::string::npos || op.bytes.find("rollback") != std::string::npos;
}

}  // namespace

void sim_client::hear(ledger& book, std::vector<std::string>& violations) {
    heard += std::exchange(driver.to_client, {});
    for (raw_message const& m : take_messages(heard)) {
        std::size_t at = 0;
        if (m.type == 'Z' && !greeted) {
            greeted = true;
            continue;
        }
        if (asked.empty()) continue;
        operation const& op = asked.front();
        switch (m.type) {
            case 'D':
            case 'd': {
                std::string const row = m.body.substr(m.type == 'D' ? 6 : 0);
                if (row.find('-') == std::string::npos) break;  // no constant of an operation
                auto const found =
                    std::find(op.reads.begin() + static_cast<std::ptrdiff_t>(next_read), op.reads.end(), row);
                if (found == op.reads.end())
                    violations.push_back("a row that is not this operation's: " + row);
                else
                    next_read = static_cast<std::size_t>(found - op.reads.begin()) + 1;
                break;
            }
            case 'C':
                last_tag = text_at(m.body, at);
                if (told == 'E' && !done && last_tag != "ROLLBACK")
                    violations.push_back("done in a block that has failed: " + last_tag);
                done = true;
                break;
            case 'E':
                if (auto const fields = pg::parse_error_fields(pg::as_bytes(m.body))) {
                    if (failed && fields->severity != "FATAL") violations.push_back("told twice that it has failed");
                    failure = fields->sqlstate.value_or("");
                }
                failed = true;
                break;
            case 'Z': {
                char const status = m.body[0];
                if (op.undoes) unclear = true;
                if (!op.write.empty() && done && !failed) acknowledged.push_back(op.write);
                if (!op.write.empty() && failed && failure == "25006" && book.executed.contains(op.write))
                    violations.push_back("refused and executed: " + op.write);
                if (status == 'E') unclear = true;
                // (08007: whether what ends it has been done is not known, of what was asked before it neither.)
                if (told == 'E' && status != 'E' && !done && failure != "08007" && !ends_block(op))
                    violations.push_back("out of a block that has failed, by what does not end it");
                told = status;
                if (status == 'I') {
                    bool const kept = !unclear && !failed && last_tag != "ROLLBACK";
                    for (auto const& w : acknowledged) {
                        if (!kept || book.committed.contains(w) || book.journaled.contains(w)) continue;
                        if (discarded < driver.core().fates().discarded) {
                            ++discarded;
                            book.discarded.insert(w);
                            continue;
                        }
                        violations.push_back("acknowledged and lost: " + w);
                    }
                    acknowledged.clear();
                    unclear = false;
                }
                asked.pop_front();
                next_read = 0;
                failed = done = false;
                failure.clear();
                last_tag.clear();
                break;
            }
            default:
                break;
        }
    }
}

void judge_journal(ledger const& book, std::vector<std::string>& violations) {
    for (auto const& w : book.journaled)
        if (!book.committed.contains(w)) violations.push_back("journaled and lost: " + w);
    for (auto const& w : book.discarded)
        if (book.executed.contains(w)) violations.push_back("discarded and executed: " + w);
}

}  // namespace lull::sim
