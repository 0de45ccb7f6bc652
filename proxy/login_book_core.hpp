// How servers can be told of those who have come in: what a journal is run with, where the configuration does not say it.
// Pure; its owner has the lock.
#pragma once

#include "proxy/pg_login_core.hpp"
#include "routing/named.hpp"
#include "routing/snapshot.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <utility>

namespace lull {

class login_book {
  public:
    /// Of so many users at most, those of each site apart: anybody who may log in adds to it.
    explicit login_book(std::size_t most) : most_(most) {}

    /// False: there are as many as may be, and it is not remembered. `needed`: it takes the place of one that never was, if there is
    /// any: with `trust` anybody comes in under names that he makes up.
    bool keep(routing::site_id site, std::string const& user, server_credentials const& credentials, bool needed = false);
    /// nullptr: nobody of that name was seen there.
    server_credentials const* find(routing::site_id site, std::string const& user) const;

    std::size_t most() const { return most_; }
    /// each(site, user, credentials)
    template <class Each>
    void each(Each&& tell) const {
        for (auto const& [key, one] : known_) tell(key.first, key.second, one.credentials);
    }
    std::size_t size() const { return known_.size(); }

  private:
    std::size_t const most_;
    struct entry {
        server_credentials credentials;
        bool needed = false;
    };
    std::map<std::pair<routing::site_id, std::string>, entry> known_;
};

}  // namespace lull
