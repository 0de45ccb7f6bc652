// The verbs of the command line. Each returns the exit status:
//   0 done; 1 refused or failed, and said why; 2 bad usage; 3 no lull answers; 4 not proved;
//   5 verify has no verdict; 6 open, but journaled writes were not done; 130 interrupted.
// `lull upgrade` returns the status of the command that it ran, where that was not 0.
#pragma once

#include "protocol/http/percent.hpp"
#include "proxy/admin_client.hpp"

#include <array>
#include <csignal>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lull::cli {

inline constexpr int failed = 1;
inline constexpr int unreachable = 3;
inline constexpr int not_proved = 4;
inline constexpr int no_verdict = 5;
inline constexpr int writes_not_done = 6;
inline constexpr int interrupted = 130;

struct window_options {
    std::string site;
    std::string as;            // the name of the reason; empty: the operator's
    std::string lease;         // duration; empty: none
    std::string on_lease_end;  // stay, reopen; empty: stay
    std::string reason;
    std::string eta;            // duration, as in the configuration
    std::string drain_timeout;  // duration
    std::string on_deadline;    // wait, cancel, terminate, abort; empty: the site's
    bool no_wait = false;
    bool no_freeze = false;
};

int status(admin_client const& admin, std::string const& site, bool json);
int journal(admin_client const& admin, std::string const& site, bool json);
int run_journal(admin_client const& admin, std::string const& site);
int maintenance_on(admin_client const& admin, window_options const& options);
struct end_options {
    std::string site;
    std::string as;  // which reason; empty: the only one, or the operator's
    bool all = false;
    bool no_wait = false;
};
/// writes_not_done: the site is open, and some of what was journaled in this window has failed.
int maintenance_off(admin_client const& admin, end_options const& options);
int maintenance_renew(admin_client const& admin, std::string const& site, std::string const& as);
int upgrade(admin_client const& admin, window_options const& options,
            std::vector<std::string> const& command);
/// 0: proved; failed: somebody else committed; not_proved: the server cannot tell; no_verdict: no such site,
/// or no window yet.
int verify(admin_client const& admin, std::string const& site, bool json);
int reload(admin_client const& admin);
int check(std::string const& file, bool explain);

/// Of a site on the admin socket.
inline std::string site_path(std::string_view site) { return "/sites/" + http::percent_encode(site); }

/// Prints a problem document to stderr, in plain words; returns `failed`.
int print_problem(admin_reply const& reply);
/// What `lull maintenance on` and `lull upgrade` send. False: said on stderr.
bool request_body(window_options const& options, nlohmann::json& body);
/// Nothing where it is not a duration; said on stderr.
std::optional<long long> milliseconds_of(std::string const& option, std::string const& duration);

/// SIGINT, SIGTERM and SIGHUP set a flag instead of ending the process while this lives. The flag is that of
/// the process: one within another goes on with it.
class interrupt_guard {
  public:
    interrupt_guard();
    ~interrupt_guard();
    interrupt_guard(interrupt_guard const&) = delete;
    interrupt_guard& operator=(interrupt_guard const&) = delete;
    static bool interrupted();
    static void forget();

  private:
    static constexpr std::array signals{SIGINT, SIGTERM, SIGHUP};
    std::array<struct sigaction, signals.size()> before_{};
};

}  // namespace lull::cli
