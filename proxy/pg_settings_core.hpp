// Session settings that follow a client from server to server. A set of settings is an immutable value,
// shared by all who have the same: whether a server is as a client left it is one comparison of pointers.
// Owned by a worker, used on its thread only.
#pragma once

#include "protocol/pg/startup.hpp"
#include "routing/route.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lull {

/// Sorted by name; with values as setting_value() makes them, never as SQL: what a text means depends on the
/// settings of the session that reads it, and of another session they are others.
using setting_map = std::vector<std::pair<std::string, std::string>>;
inline constexpr std::string_view default_isolation = "default_transaction_isolation";

/// The same, and what each query asks of it.
struct setting_set : setting_map {
    setting_set() = default;
    explicit setting_set(setting_map const& all);
    bool serializable = false, repeatable = false;     // default_isolation; "repeatable read"
    routing::route route = routing::route::automatic;  // lull.route
    // Of what a server reports; where it does not, what PostgreSQL begins with.
    bool standard_conforming_strings = true;
    bool unsafe_encoding = false;  // client_encoding: a byte of ASCII may be a part of another character
    bool superuser = false;
};
/// Never null. From one interner, equal contents are the same pointer.
using session_settings = std::shared_ptr<setting_set const>;

class setting_interner {
  public:
    setting_interner();

    session_settings const& none() const { return none_; }
    session_settings intern(setting_map map);
    session_settings with(session_settings const& from, std::string_view name, std::string_view value);
    session_settings without(session_settings const& from, std::string_view name);

  private:
    std::map<setting_map, std::weak_ptr<setting_set const>> known_;
    std::size_t prune_at_ = 256;
    std::size_t key_bytes_ = 0;  // of known_
    std::size_t prune_at_bytes_ = least_prune_bytes;
    static constexpr std::size_t least_prune_bytes = 16 * 1024 * 1024;
    session_settings none_;
};

/// The value, or nothing.
std::string const* find_setting(setting_map const& in, std::string_view name);
std::string const* find_setting(session_settings const& in, std::string_view name);

/// Of those of one name the last stays.
void sort_settings(setting_map& all);

/// Whether a setting decides what literals mean when a statement is parsed (manual, "Client Connection
/// Defaults", "Date/Time Types").
bool decides_literals(std::string_view name);
/// Who the session is, in the order in which it may be made: what comes first decides whether what comes next may be set.
/// RESET ALL leaves both as they are (GUC_NO_RESET_ALL).
inline constexpr std::string_view identity_settings[] = {"session_authorization", "role"};
bool tells_who(std::string_view name);
/// Whether it is one of those by which the names in a statement are looked up.
bool decides_names(std::string_view name);

/// Bytes outside of ASCII mean something only together with their encoding, so it is kept with them. `encoding`: of
/// the client when it sent them; empty: the database's own (startup packets are taken as they come).
std::string setting_value(std::string_view bytes, std::string_view encoding);

/// SQL that makes a setting, and that every server reads the same way: nothing in it is outside of ASCII or a
/// backslash, so neither standard_conforming_strings nor backslash_quote nor client_encoding matters. No name in it is
/// looked for in search_path, and it runs nobody's code. `value` as setting_value() made it.
std::string setting_sql(std::string_view name, std::string_view value);

/// The SQL of the identity settings among these, in their order: behind all others.
std::vector<std::string> identity_sql(setting_map const& of);

/// `from`, and what would have a server that reports `reported` end its session turned off.
session_settings with_staying(setting_interner& settings, session_settings from, setting_map const& reported);
/// SQL that turns it off. `status`: of the server; in a block they are undone by its end, however that comes.
std::string staying_sql(setting_map const& reported, char status);

/// SQL that turns a session with the settings `from` into one with `to`, read the same way everywhere as well; empty
/// where they are equal.
std::string setting_difference(setting_map const& from, setting_map const& to);

}  // namespace lull
