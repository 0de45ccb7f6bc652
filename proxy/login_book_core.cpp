#include "proxy/login_book_core.hpp"

#include <algorithm>

namespace lull {

bool login_book::keep(routing::site_id site, std::string const& user, server_credentials const& credentials,
                      bool needed) {
    auto at = known_.find({site, user});
    if (at == known_.end()) {
        if (known_.size() >= most_) {
            auto const other = needed ? std::ranges::find_if(known_, [](auto const& one) { return !one.second.needed; }) : known_.end();
            if (other == known_.end()) return false;
            known_.erase(other);
        }
        at = known_.try_emplace({site, user}).first;
    }
    at->second.credentials = credentials;
    at->second.needed |= needed;
    return true;
}

server_credentials const* login_book::find(routing::site_id site, std::string const& user) const {
    auto const at = known_.find({site, user});
    return at == known_.end() ? nullptr : &at->second.credentials;
}

}  // namespace lull
