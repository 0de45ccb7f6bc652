#include "proxy/pause_book_core.hpp"

namespace lull {

void pause_book::settle(std::string const& name) {
    entry& e = entries_[name];
    --e.waiting;
    e.kept = true;
}

bool pause_book::give_up(std::string const& name) {
    auto const at = entries_.find(name);
    if (--at->second.waiting > 0 || at->second.kept) return false;
    entries_.erase(at);
    return true;
}

bool pause_book::resume(std::string const& name) {
    if (!name.empty()) return entries_.erase(name) > 0;
    bool const any = !entries_.empty();
    entries_.clear();
    return any;
}

}  // namespace lull
