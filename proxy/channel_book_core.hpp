// Who listens to what (LISTEN, NOTIFY), where clients share one listener connection for each database. Values and
// books only. Three parties: a session knows what its own client listens to (session_channels), a worker which of
// its clients do (channel_book), the listener which workers do (channel_union). Each used on one thread.
#pragma once

#include "routing/snapshot.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace lull {

/// What a server told its listener, as all who listen get it.
struct notification_text {
    std::string channel;
    std::string message;  // a whole NotificationResponse
};
using notification = std::shared_ptr<notification_text const>;

enum class channel_outcome : std::uint8_t {
    listening,    // the server has committed the LISTEN
    full,         // limits.max_listen_channels
    unavailable,  // there is no listener, or it may not log in
};

/// CommandComplete of a LISTEN that the listener has done.
inline constexpr char const* listen_tag = "LISTEN";

/// What a client listens to. Made with its first LISTEN.
struct session_channels {
    std::set<std::string, std::less<>> active;  // by transactions that have committed
    std::set<std::string, std::less<>> joined;  // in its worker's book: those, and what its transaction LISTENs to
    std::string asked;                          // the unit in hand waits for this one ...
    routing::instant asked_since{};             // ... and has done so since
    std::string refusal;                        // an ErrorResponse: what becomes of that unit
    std::set<std::string, std::less<>> own;     // of LISTENs that went to a server that is its own; "": of a function's
    routing::instant own_server_until{};  // the listener cannot be used: the LISTEN in hand goes to its own server
    enum class ending : std::uint8_t { no, lost, too_many } end = ending::no;  // of the session, when it is idle
    std::deque<notification> waiting;
    std::size_t waiting_bytes = 0;

    void drop_waiting() {
        waiting.clear();
        waiting_bytes = 0;
    }
    /// Empty: to all.
    void end_listening(std::string const& channel) {
        if (channel.empty()) {
            active.clear();
            own.clear();
        } else {
            active.erase(channel);
            own.erase(channel);
        }
    }
};

/// The way to the listener of a database. Its answer is channel_book::answered(), with the same ticket.
class channel_port {
  public:
    virtual ~channel_port() = default;
    virtual void listen(std::string const& database, std::string const& channel, std::uint64_t ticket) = 0;
    virtual void unlisten(std::string const& database, std::string const& channel) = 0;
};

/// A worker's: clients by database and channel.
class channel_book {
  public:
    using client = std::int32_t;  // as pg_service knows it
    enum class standing : std::uint8_t { listening, asked };

    explicit channel_book(channel_port& port) : port_(port) {}

    /// asked: an answer will follow. Asking again changes nothing.
    standing join(std::string const& database, std::string const& channel, client who);
    void leave(std::string const& database, std::string const& channel, client who);
    /// Those who wait for this answer. Where it is a refusal they are no longer in the book.
    std::vector<client> answered(std::string const& database, std::string const& channel, std::uint64_t ticket,
                                 channel_outcome outcome);
    /// Copied, because they may leave while they are told.
    std::vector<client> listeners(std::string const& database, std::string const& channel) const;
    /// The listener has lost its connection: those who have listened. What has been asked is still to be answered.
    std::set<client> lost(std::string const& database);

    bool knows(std::string const& database) const { return databases_.contains(database); }
    /// By database: clients, each as often as it listens or waits to.
    std::map<std::string, std::size_t> listening() const;

  private:
    struct entry {
        std::uint64_t ticket = 0;
        bool listening = false;
        std::vector<client> clients;
    };
    channel_port& port_;
    std::map<std::string, std::map<std::string, entry, std::less<>>, std::less<>> databases_;
    std::uint64_t next_ticket_ = 1;
};

/// The listener's, of one database: workers by channel.
class channel_union {
  public:
    using worker = std::size_t;
    enum class verdict : std::uint8_t { has, make, full };

    /// make: the server has to be told, and keep() follows when it has agreed.
    verdict ask(std::string const& channel, worker who, std::size_t most);
    void keep(std::string const& channel, worker who) { channels_[channel].insert(who); }
    /// True: nobody is left, and the server has to be told.
    bool drop(std::string const& channel, worker who);
    std::set<worker> const* workers_of(std::string_view channel) const;
    std::set<worker> all_workers() const;
    void clear() { channels_.clear(); }
    bool empty() const { return channels_.empty(); }

  private:
    std::map<std::string, std::set<worker>, std::less<>> channels_;
};

}  // namespace lull
