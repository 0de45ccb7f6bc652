#include "proxy/login_book_core.hpp"

namespace lull {

bool login_book::keep(routing::site_id site, std::string const& user, server_credentials const& credentials) {
    auto const at = known_.find({site, user});
    if (at != known_.end())
        at->second = credentials;
    else if (known_.size() < most_)
        known_.emplace(std::pair{site, user}, credentials);
    else
        return false;
    return true;
}

server_credentials const* login_book::find(routing::site_id site, std::string const& user) const {
    auto const at = known_.find({site, user});
    return at == known_.end() ? nullptr : &at->second;
}

}  // namespace lull
