// What is known of a site's maintenance window and outlives the process. Plain values;
// proxy/state_format_core writes and reads them.
#pragma once

#include "config/model.hpp"
#include "routing/lsn.hpp"
#include "routing/snapshot.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lull::routing {

enum class phase : std::uint8_t {
    read_write,
    draining,  // waiting for the writes in flight
    sealing,   // none in flight; proof, replicas catch up and are frozen
    sealed,
    reopening,   // replicas are resumed and catch up; also the way back from a cancelled entering
    recovering,  // after a restart: closed, finding out what is true
};

/// What an operator asks for.
struct window_request {
    std::string reason;
    std::string owner;
    std::optional<wall_time> until;
    config::milliseconds drain_timeout{30'000};
    config::on_deadline on_deadline = config::on_deadline::wait;
    bool freeze = true;  // false: leave the replicas alone
    friend bool operator==(window_request const&, window_request const&) = default;
};

/// A replica whose replay this window has paused, or may have. Named by address: ids die with the process.
struct paused_replica {
    std::string address;
    std::optional<lsn> at;  // where its replay stands; nothing: the order to pause may have reached it or not
    friend bool operator==(paused_replica const&, paused_replica const&) = default;
};

struct past_window {
    lull::routing::epoch epoch{};  // of its sealing
    std::string reason;
    std::string owner;
    std::optional<lsn> sealed_lsn;
    wall_time sealed_at;
    std::optional<lsn> finish_lsn;
    wall_time reopened_at;
    std::vector<std::string> waited_for;
    friend bool operator==(past_window const&, past_window const&) = default;
};

/// What outlives the process. `phase` is never `recovering`.
struct maintenance_record {
    lull::routing::phase phase = phase::read_write;
    lull::routing::epoch epoch{};
    window_request request;
    wall_time since;  // of the phase's mode
    std::optional<lsn> sealed_lsn;
    std::optional<wall_time> sealed_at;
    lull::routing::epoch sealed_epoch{};
    std::vector<paused_replica> replicas;  // in read_write: those whose resume is still owed
    std::vector<std::string> waited_for;   // at most 50
    std::optional<past_window> last_window;
    friend bool operator==(maintenance_record const&, maintenance_record const&) = default;
};

}  // namespace lull::routing
