// A pg_client that listens.
#include "proxy/pg_client_event.hpp"

namespace lull {

void pg_client::channel_answered(std::string const& channel, channel_outcome outcome) {
    if (!session_ || finished_) return;
    event([&](session_step& step) { session_->on_channel(channel, outcome, step); });
}

void pg_client::notified(notification const& what) {
    if (session_ && !finished_) session_->on_notification(what);
}

void pg_client::channels_lost() {
    if (!session_ || finished_) return;
    session_->on_channels_lost();
    tell_notifications();
}

void pg_client::tell_notifications() {
    if (!session_ || finished_ || closing_ || !session_->may_tell(!out_.empty())) return;
    service_.note_busy(*this);  // it may be slow
    event([&](session_step& step) { session_->tell_notifications(step); });
}

}  // namespace lull
