// The listeners of clusters, and the way between them and the workers.
#include "proxy/control.hpp"

namespace lull {

void control::start_listeners() {
    channel_audience& audience = *this;
    for (auto const& [name, cluster] : config_->clusters)
        if (cluster.control)
            listeners_[name] = std::make_unique<channel_watch>(cluster.primary, *cluster.control, cluster.tls,
                                                               config_->limits.max_listen_channels, audience);
}

/// Any thread: which listeners there are does not change while workers run.
void control::listen(worker_id worker, std::string const& cluster, channel_wish const& wish) {
    auto const at = listeners_.find(cluster);
    auto const index = static_cast<std::size_t>(worker);
    if (at != listeners_.end()) return at->second->listen(index, wish.database, wish.channel, wish.ticket);
    channel_answered(index, {wish.database, wish.channel, wish.ticket, channel_outcome::unavailable, {}});
}

void control::unlisten(worker_id worker, std::string const& cluster, std::string const& database,
                       std::string const& channel) {
    auto const at = listeners_.find(cluster);
    if (at != listeners_.end()) at->second->unlisten(static_cast<std::size_t>(worker), database, channel);
}

void control::channel_answered(std::size_t worker, channel_answer answer) {
    (*workers_)[worker]->channel_answered(std::move(answer));
}

void control::notified(std::size_t worker, std::string const& database, std::vector<notification> what) {
    (*workers_)[worker]->notified(database, std::move(what));
}

void control::channels_lost(std::size_t worker, std::string const& database) {
    (*workers_)[worker]->channels_lost(database);
}

}  // namespace lull
