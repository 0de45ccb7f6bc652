#include "proxy/channel_book_core.hpp"

#include <algorithm>

namespace lull {

channel_book::standing channel_book::join(std::string const& database, std::string const& channel, client who) {
    auto const [at, fresh] = databases_[database].try_emplace(channel);
    entry& e = at->second;
    if (std::ranges::find(e.clients, who) == e.clients.end()) e.clients.push_back(who);
    if (e.listening) return standing::listening;
    if (fresh) {
        e.ticket = next_ticket_++;
        port_.listen(database, channel, e.ticket);
    }
    return standing::asked;
}

void channel_book::leave(std::string const& database, std::string const& channel, client who) {
    auto const in = databases_.find(database);
    if (in == databases_.end()) return;
    auto const at = in->second.find(channel);
    if (at == in->second.end() || std::erase(at->second.clients, who) == 0) return;
    if (!at->second.clients.empty()) return;
    in->second.erase(at);
    if (in->second.empty()) databases_.erase(in);
    port_.unlisten(database, channel);
}

std::vector<channel_book::client> channel_book::answered(std::string const& database, std::string const& channel,
                                                         std::uint64_t ticket, channel_outcome outcome) {
    auto const in = databases_.find(database);
    if (in == databases_.end()) return {};
    auto const at = in->second.find(channel);
    // Of an asking that nobody waits for any more; the one who gave it up has said so to the listener.
    if (at == in->second.end() || at->second.ticket != ticket || at->second.listening) return {};
    std::vector<client> const waiting = at->second.clients;
    if (outcome == channel_outcome::listening) {
        at->second.listening = true;
        return waiting;
    }
    in->second.erase(at);
    if (in->second.empty()) databases_.erase(in);
    return waiting;
}

std::vector<channel_book::client> channel_book::listeners(std::string const& database,
                                                          std::string const& channel) const {
    auto const in = databases_.find(database);
    if (in == databases_.end()) return {};
    auto const at = in->second.find(channel);
    if (at == in->second.end()) return {};
    return at->second.clients;
}

std::set<channel_book::client> channel_book::lost(std::string const& database) {
    std::set<client> all;
    auto const in = databases_.find(database);
    if (in == databases_.end()) return all;
    for (auto at = in->second.begin(); at != in->second.end();) {
        if (at->second.listening) all.insert(at->second.clients.begin(), at->second.clients.end());
        at = at->second.listening ? in->second.erase(at) : std::next(at);
    }
    if (in->second.empty()) databases_.erase(in);
    return all;
}

std::map<std::string, std::size_t> channel_book::listening() const {
    std::map<std::string, std::size_t> all;
    for (auto const& [database, channels] : databases_)
        for (auto const& [channel, e] : channels) all[database] += e.clients.size();
    return all;
}

channel_union::verdict channel_union::ask(std::string const& channel, worker who, std::size_t most) {
    auto const at = channels_.find(channel);
    if (at == channels_.end()) return channels_.size() < most ? verdict::make : verdict::full;
    at->second.insert(who);
    return verdict::has;
}

bool channel_union::drop(std::string const& channel, worker who) {
    auto const at = channels_.find(channel);
    if (at == channels_.end()) return false;
    at->second.erase(who);
    if (!at->second.empty()) return false;
    channels_.erase(at);
    return true;
}

std::set<channel_union::worker> const* channel_union::workers_of(std::string_view channel) const {
    auto const at = channels_.find(channel);
    return at == channels_.end() ? nullptr : &at->second;
}

std::set<channel_union::worker> channel_union::all_workers() const {
    std::set<worker> all;
    for (auto const& [channel, workers] : channels_) all.insert(workers.begin(), workers.end());
    return all;
}

}  // namespace lull
