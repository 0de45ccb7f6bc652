// What outlives the process: the maintenance record of each site, in STATE_DIR/state.json, and the lock that
// keeps a second process out. Written to a new file, flushed, renamed, and the folder flushed: after a crash
// there is the old state or the new one, never half of one. Control thread only; calls block on the disk.
#pragma once

#include "routing/maintenance.hpp"

#include <map>
#include <string>
#include <string_view>
#include <variant>

namespace lull {

using maintenance_records = std::map<std::string, routing::maintenance_record>;  // by site

/// The file as text and back. Anything that is not exactly what format_state() writes, in this version or an
/// older one, is an error: a sentence.
std::string format_state(maintenance_records const& records);
std::variant<maintenance_records, std::string> parse_state(std::string_view text);
/// Of all sites, also of those that are gone: a site without a record begins here, so that one which is
/// renamed or comes back uses none again.
std::uint64_t highest_epoch(maintenance_records const& records);

class state_file {
  public:
    struct loaded {
        maintenance_records records;
        /// Not empty: there is a state, and it cannot be read; every site must start closed.
        std::string problem;
        /// There was never one here.
        bool fresh = false;
    };

    /// Makes the folder (0700) if it is missing and locks it. Throws std::runtime_error: cannot, or another
    /// process has it (its pid is named).
    /// `longest_audit`: the audit file is renamed to audit.jsonl.1, in place of the one before, when it is longer.
    explicit state_file(std::string folder, std::size_t longest_audit = 64 * 1024 * 1024);
    ~state_file();
    state_file(state_file const&) = delete;
    state_file& operator=(state_file const&) = delete;

    loaded load() const;
    struct saved {
        std::string error;  // empty: written durably
        /// With an error: a restart finds the new state, and a power cut that one or the old one. Otherwise the
        /// old one stands.
        bool in_place = false;
    };
    saved save(maintenance_records const& records);
    struct audited {
        std::string error;     // empty: the line is flushed
        bool rotated = false;  // the next line begins a new file
    };
    /// One line for the audit file, audit.jsonl, which only grows.
    audited audit(std::string_view line);

  private:
    std::string folder_;
    std::size_t const longest_audit_;
    int lock_ = -1;
};

}  // namespace lull
