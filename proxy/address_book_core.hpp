// What is known of host names: addresses, since when, and whether somebody is looking again. Pure: no clock,
// no look-up. Owned by a host_resolver; its worker's thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lull {

template <class Address>
class address_book {
  public:
    using instant = std::chrono::steady_clock::time_point;
    /// Nothing known: `addresses` is empty and `error` says why.
    using asker = std::function<void(std::vector<Address> addresses, std::string error)>;

    enum class answer : std::uint8_t {
        known,   // `addresses` are to be used
        stale,   // they are, and a look-up is to begin
        wait,    // the asker is answered by found()
        look_up  // it is, and a look-up is to begin
    };
    struct asked {
        answer what;
        std::vector<Address> const* addresses = nullptr;  // until the next call
    };

    /// For `ttl` addresses are used as they are, and while they are looked up again; but whoever asks first
    /// after twice the time waits for that. There is one look-up at a time for a name. `then` is kept where
    /// the answer says so.
    template <class MakeAsker>
    asked ask(std::string const& name, instant now, std::chrono::milliseconds ttl, MakeAsker&& then) {
        entry& e = entries_[name];
        if (!e.addresses.empty() && now - e.looked < ttl) return {answer::known, &e.addresses};
        // A look-up that hangs stops nobody.
        if (e.looking && !e.addresses.empty()) return {answer::known, &e.addresses};
        bool const begin = !std::exchange(e.looking, true);
        if (!e.addresses.empty() && now - e.looked < 2 * ttl) return {answer::stale, &e.addresses};
        e.waiting.push_back(then());
        return {begin ? answer::look_up : answer::wait};
    }

    /// The end of a look-up. Where it failed, what was found last is used on, for `ttl` again. `addresses`
    /// and the error are what those who waited are to be told.
    struct outcome {
        std::vector<asker> waiting;
        std::vector<Address> addresses;
        std::string error;
        bool moved = false;  // an address of before is none any more
    };
    outcome found(std::string const& name, instant now, std::vector<Address> addresses, std::string error) {
        entry& e = entries_[name];
        e.looking = false;
        bool const moved =
            !addresses.empty() && std::any_of(e.addresses.begin(), e.addresses.end(), [&](Address const& a) {
                return std::find(addresses.begin(), addresses.end(), a) == addresses.end();
            });
        if (!addresses.empty()) e.addresses = std::move(addresses);
        e.looked = now;
        outcome out{std::exchange(e.waiting, {}), e.addresses, {}, moved};
        if (out.addresses.empty()) {
            out.error = std::move(error);
            entries_.erase(name);  // nobody waits for its time: the next who asks looks again
        }
        return out;
    }

    /// What was found last; null: nothing.
    std::vector<Address> const* addresses(std::string const& name) const {
        auto const at = entries_.find(name);
        return at == entries_.end() || at->second.addresses.empty() ? nullptr : &at->second.addresses;
    }

  private:
    struct entry {
        std::vector<Address> addresses;  // the last that were found
        instant looked{};
        bool looking = false;
        std::vector<asker> waiting;
    };
    std::map<std::string, entry> entries_;
};

}  // namespace lull
