// Commands that the configuration names for the turns of a maintenance window: they quiet job schedulers,
// call people. Started without a shell, one after the other, in a process group of their own, killed when
// their time is over. Control thread only; nothing here blocks.
#pragma once

#include "config/model.hpp"
#include "routing/snapshot.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace lull {

struct hook_call {
    std::string name;                                // "on_enter"
    std::vector<std::string> command;                // the program, looked up in PATH, and its arguments
    std::map<std::string, std::string> environment;  // beside Lull's own
    config::milliseconds timeout{30'000};
};

struct hook_outcome {
    std::string name;
    std::string program;
    bool ok = false;
    bool called = true;  // false: dropped, because too many waited
    std::string text;    // "ended with status 0 after 12 ms", "could not be started: ..."
    std::string output;  // the beginning of what it printed, at most 2000 bytes
    routing::wall_time at;
};

/// The hooks of one site, in the order in which they were called.
class hook_runner {
  public:
    using on_end = std::function<void(hook_outcome const&)>;

    /// `end` is called from the loop of `io`, and not after the runner is gone.
    hook_runner(boost::asio::io_context& io, on_end end);
    /// Kills what runs: nobody would tell of its end.
    ~hook_runner();
    hook_runner(hook_runner const&) = delete;
    hook_runner& operator=(hook_runner const&) = delete;

    /// Where too many wait, the oldest of them is dropped, and said; one that tells of an end after all others.
    void call(hook_call c);
    bool idle() const { return pid_ == 0 && waiting_.empty(); }

  private:
    void start_next();
    std::string spawn();
    void look();
    void look_later();
    void read_output();
    void ended(bool ok, std::string text);

    boost::asio::steady_timer timer_;
    on_end const end_;
    std::deque<hook_call> waiting_;
    hook_call current_;
    int pid_ = 0;
    int output_ = -1;
    bool killed_ = false;
    std::string printed_;
    std::chrono::steady_clock::time_point started_;
};

}  // namespace lull
