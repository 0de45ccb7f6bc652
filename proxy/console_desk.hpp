// Answers the console's questions. Control thread: what takes time is looked at again by a timer, so that
// neither it nor a worker ever waits.
//
// PAUSE has an end: where open transactions outlast its time-out, or whoever asked for it goes away, it is
// undone, unless another has asked for it, too, and who was in the way is named. KILL cancels what runs on servers and then ends the sessions, so
// that no statement goes on unseen.
#pragma once

#include "proxy/console_command_core.hpp"
#include "proxy/console_show.hpp"
#include "proxy/overview.hpp"
#include "proxy/pause_book_core.hpp"
#include "proxy/ports.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lull {

class console_desk {
  public:
    /// All outlive it. `paused` is what it keeps, for others to read.
    console_desk(boost::asio::io_context& io, observer& all, pause_book& paused,
                 std::vector<std::unique_ptr<worker_port>>& workers);
    ~console_desk();

    void ask(worker_id worker, std::uint64_t request, console_command const& what, std::string const& user);
    void cancel(worker_id worker, std::uint64_t request);

  private:
    struct job;
    using key = std::pair<worker_id, std::uint64_t>;

    void start(std::shared_ptr<job> const& j);
    void show(std::shared_ptr<job> const& j);
    void pause(std::shared_ptr<job> const& j);
    void watch_pause(std::shared_ptr<job> const& j);
    void look_at_pause(std::shared_ptr<job> const& j, overview const& all);
    void undo_pause(job& j);
    void end_pauses(job const& resume);
    void resume(job& j);
    void kill(job& j);
    void reconnect(job& j);
    void reload(job& j);
    void shut_down(job& j);
    void maintain(std::shared_ptr<job> const& j);
    void watch_site(std::shared_ptr<job> const& j);
    void tell_workers(pool_order order, std::string const& database);
    bool known(job& j);
    void say(job& j, std::string_view severity, std::string_view message, std::string_view detail = {});
    void complete(job& j, std::string_view tag);
    void fail(job& j, std::string_view sqlstate, std::string_view message, std::string_view hint = {},
              std::string_view detail = {});
    void fail(job& j, admin_answer const& problem);
    void answer(job& j, std::string messages, bool last);
    void take_sample();

    boost::asio::io_context& io_;
    observer& all_;
    std::vector<std::unique_ptr<worker_port>>& workers_;
    std::map<key, std::shared_ptr<job>> jobs_;
    pause_book& paused_;
    struct sample {
        std::chrono::steady_clock::time_point at;
        std::map<std::string, database_stats> databases;
    };
    std::deque<sample> samples_;  // oldest first, about a minute of them
    boost::asio::steady_timer sampling_;
};

}  // namespace lull
