// Between a worker's clients and the listeners of their databases.
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"

namespace lull {

namespace {

std::string const& cluster_of(routing::snapshot const& snapshot, std::string const& database) {
    return snapshot.of(snapshot.by_database.at(database)).settings->cluster;
}

}  // namespace

void pg_service::listen(std::string const& database, std::string const& channel, std::uint64_t ticket) {
    control_.listen(id_, cluster_of(snapshot(), database), {database, channel, ticket});
}

void pg_service::unlisten(std::string const& database, std::string const& channel) {
    if (!channels_.knows(database)) listeners_.erase(database);
    control_.unlisten(id_, cluster_of(snapshot(), database), database, channel);
}

void pg_service::channel_answered(channel_answer const& answer) {
    touch_clock();
    if (answer.listener.pid != 0) listeners_[answer.database] = answer.listener;
    for (std::int32_t key : channels_.answered(answer.database, answer.channel, answer.ticket, answer.outcome))
        if (auto const at = by_key_.find(key); at != by_key_.end())
            at->second->channel_answered(answer.channel, answer.outcome);
}

/// Each client is told all of it at once.
void pg_service::notified(std::string const& database, std::vector<notification> const& what) {
    touch_clock();
    std::set<std::int32_t> told;
    for (notification const& n : what)
        for (std::int32_t key : channels_.listeners(database, n->channel))
            if (auto const at = by_key_.find(key); at != by_key_.end()) {
                at->second->notified(n);
                told.insert(key);
            }
    for (std::int32_t key : told)
        if (auto const at = by_key_.find(key); at != by_key_.end()) at->second->tell_notifications();
}

void pg_service::channels_lost(std::string const& database) {
    touch_clock();
    listeners_.erase(database);
    for (std::int32_t key : channels_.lost(database))
        if (auto const at = by_key_.find(key); at != by_key_.end()) at->second->channels_lost();
}

}  // namespace lull
