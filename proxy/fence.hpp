// Puts up the fence on a primary and takes it away: one thread with a libpq connection of its own, as the
// cluster's `fence` role. Blocking calls, each with a time-out. What is to be changed was recorded before by
// whoever asks; what is not in the question is not touched.
#pragma once

#include "config/model.hpp"
#include "proxy/pg_query.hpp"
#include "proxy/probes.hpp"
#include "routing/maintenance_events.hpp"

#include <boost/asio/io_context.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace lull {

struct fence_question {
    routing::effect::fence_order order = routing::effect::fence_order::raise;
    std::vector<routing::fence_setting> settings;
    std::vector<std::string> databases;
    routing::instant asked;           // `ours` are those of then
    std::vector<std::uint32_t> ours;  // backends that are Lull's connections
};

class fence_keeper {
  public:
    using answer = std::variant<routing::event::fence_seen, order_failure>;

    fence_keeper(boost::asio::io_context& io, config::endpoint primary, config::login_role role,
                 config::server_tls tls);
    ~fence_keeper();

    /// One after the other. `then` runs on `io`'s thread, and not after the keeper is gone.
    void ask(fence_question question, std::function<void(answer)> then);

  private:
    struct found_setting {  // as it is on the server now
        routing::fence_setting setting;
        bool on = false;  // this one, not what is inherited
    };
    struct change {
        routing::fence_setting const* what;
        std::optional<std::string> value;  // nothing: none
    };
    struct job {
        fence_question question;
        std::function<void(answer)> then;
    };
    using trouble = std::optional<order_failure>;

    void run();
    answer carry_out(fence_question const& question);
    trouble look_at_rights();
    trouble look(fence_question const& question, std::vector<found_setting>& found);
    answer raise(fence_question const& question, std::vector<found_setting> const& found);
    answer lower(fence_question const& question, std::vector<found_setting> const& found);
    trouble make(std::vector<change> const& changes);
    trouble ask_the_time(std::string& to);
    /// Those that came in since: while the fence is up they may not write, when it is down they may.
    enum class writers : std::uint8_t { left, ended };
    trouble end_sessions(fence_question const& question, std::string const& began_before, writers young_ones,
                         routing::event::fence_seen& seen);
    order_failure failure(std::string what) const;
    order_failure failure(pg_result const& of) const;
    order_failure rights_failure(std::string what) const;

    boost::asio::io_context& io_;
    config::endpoint const primary_;
    config::login_role const role_;
    config::server_tls const tls_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // on the control thread

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<job> jobs_;
    bool stop_ = false;

    // Its own thread only.
    pg_conn* connection_ = nullptr;
    // By databases, in the server's time: sessions that began before are to end.
    std::map<std::vector<std::string>, std::string> raised_at_;
    std::map<std::vector<std::string>, std::string> lowered_at_;
    std::thread thread_;
};

}  // namespace lull
