// The immutable value that every worker decides from. Built by the control thread, posted to each worker,
// swapped there as a plain pointer; nothing in it changes afterwards.
#pragma once

#include "config/model.hpp"
#include "routing/catalog_facts.hpp"
#include "routing/fence.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lull::routing {

/// Grows with every change of a site's mode; never reused, also not over a restart.
enum class epoch : std::uint64_t {};

/// Instants are values here; reading a clock is the driver's business.
using instant = std::chrono::steady_clock::time_point;
using wall_time = std::chrono::system_clock::time_point;

enum class mode : std::uint8_t {
    read_write,
    draining,   // no new write begins; those in flight may end
    sealed,     // nobody but the migration writes (whether proved yet says `maintenance`)
    reopening,  // like sealed for clients, while replicas catch up
};

enum class role : std::uint8_t { primary, replica };

/// One PostgreSQL server. Index into snapshot::backends; stable while the process lives.
enum class backend_id : std::uint16_t {};
enum class site_id : std::uint16_t {};

struct backend {
    backend_id id{};
    std::string cluster;
    config::endpoint address;
    lull::routing::role role = routing::role::primary;
    bool healthy = false;
    /// Everything committed on the primary before this instant has been replayed here.
    instant fresh_through{};
    config::milliseconds max_lag{10'000};  // of the cluster: further behind, no reads from it
    /// Replay is paused for this site: nobody else may read here.
    std::optional<site_id> frozen_for;
};

struct site {
    site_id id{};
    std::shared_ptr<config::site const> settings;
    lull::routing::mode mode = routing::mode::read_write;
    lull::routing::epoch epoch{};
    /// Server connections made under another generation are not used again: they may hold plans, temporary
    /// objects or rights from before the flip.
    std::uint64_t generation = 0;
    bool frozen = false;
    std::string reason;                 // the operator's, for HINTs and pages; may be empty
    std::optional<wall_time> until;     // expected end
    backend_id primary{};
    std::vector<backend_id> replicas;
    std::vector<fence_setting> fence;  // is up on the server, or may be
    /// Set when a window ends: replicas that have not replayed the migration are not read from by anybody.
    instant fresh_floor{};
};

/// Of one database.
struct catalog_state {
    std::shared_ptr<catalog_facts const> facts;  // null: not known
    bool fresh = false;  // read after the site was closed: no client can have changed anything since
};

struct snapshot {
    std::uint64_t number = 0;  // of this snapshot
    std::shared_ptr<config::config const> config;
    std::vector<site> sites;        // indexed by site_id
    std::vector<backend> backends;  // indexed by backend_id
    std::map<std::string, site_id, std::less<>> by_database;
    std::map<std::string, catalog_state, std::less<>> catalogs;  // by database
    std::map<std::string, site_id, std::less<>> by_host;  // lower case, no port, no trailing dot

    site const& of(site_id id) const { return sites[static_cast<std::size_t>(id)]; }
    backend const& of(backend_id id) const { return backends[static_cast<std::size_t>(id)]; }
};

}  // namespace lull::routing
