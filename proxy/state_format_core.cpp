// The state file's text: JSON, version 2. Version 1 knew one reason to be closed, without a name.
#include "proxy/state_file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace lull {

namespace {

using nlohmann::json;
using namespace routing;

constexpr int version = 2;
constexpr std::size_t most_claims = 64;
constexpr std::size_t most_marks = 1000;
constexpr std::size_t most_settings = 10'000;
constexpr std::size_t most_databases = 10'000;
constexpr std::int64_t highest_oid = 0xFFFFFFFF;
// Bounds that leave room to count on: a damaged number must not overflow later.
constexpr std::int64_t highest = std::int64_t{1} << 60;
constexpr std::int64_t latest_micros = 9'000'000'000'000'000;              // the year 2255
constexpr std::int64_t longest_drain = std::int64_t{3650} * 86400 * 1000;  // ms

constexpr std::array<std::pair<phase, char const*>, 5> phases{{{phase::read_write, "read_write"},
                                                               {phase::draining, "draining"},
                                                               {phase::sealing, "sealing"},
                                                               {phase::sealed, "sealed"},
                                                               {phase::reopening, "reopening"}}};
constexpr std::array<std::pair<config::on_deadline, char const*>, 4> deadlines{
    {{config::on_deadline::wait, "wait"},
     {config::on_deadline::cancel, "cancel"},
     {config::on_deadline::terminate, "terminate"},
     {config::on_deadline::abort, "abort"}}};

constexpr std::array<std::pair<lease_end, char const*>, 2> lease_ends{
    {{lease_end::stay, "stay"}, {lease_end::reopen, "reopen"}}};

struct bad_state {
    std::string why;
};

template <class Value, std::size_t N>
char const* name_of(std::array<std::pair<Value, char const*>, N> const& names, Value value) {
    for (auto const& [v, name] : names)
        if (v == value) return name;
    return "?";
}

template <class Value, std::size_t N>
Value value_of(std::array<std::pair<Value, char const*>, N> const& names, std::string const& text) {
    for (auto const& [v, name] : names)
        if (text == name) return v;
    throw bad_state{"\"" + text + "\" is not known"};
}

// Whole microseconds since 1970: what a system_clock keeps, and no text to misread.
std::int64_t micros(wall_time t) {
    return std::chrono::duration_cast<std::chrono::microseconds>(t.time_since_epoch()).count();
}
wall_time wall(std::int64_t us) {
    return wall_time(std::chrono::duration_cast<wall_time::duration>(std::chrono::microseconds(us)));
}

json optional_lsn(std::optional<lsn> const& l) {
    return l ? json(format_lsn(*l)) : json(nullptr);
}
json optional_time(std::optional<wall_time> const& t) {
    return t ? json(micros(*t)) : json(nullptr);
}

std::optional<lsn> lsn_in(json const& object, char const* key) {
    json const& value = object.at(key);
    if (value.is_null()) return std::nullopt;
    auto const parsed = parse_lsn(value.get<std::string>());
    if (!parsed) throw bad_state{std::string(key) + " is not an LSN"};
    return parsed;
}
/// json's own get() would turn -1, 1.5 and true into some number.
std::int64_t number_in(json const& object, char const* key, std::int64_t most) {
    json const& value = object.at(key);
    if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() > most)
        throw bad_state{std::string(key) + " is out of range"};
    return value.get<std::int64_t>();
}
wall_time moment_in(json const& object, char const* key) {
    return wall(number_in(object, key, latest_micros));
}
std::optional<wall_time> time_in(json const& object, char const* key) {
    return object.at(key).is_null() ? std::nullopt : std::optional(moment_in(object, key));
}
epoch epoch_in(json const& object, char const* key) {
    return epoch{static_cast<std::uint64_t>(number_in(object, key, highest))};
}

json write_request(window_request const& r) {
    return {{"as", r.as},
            {"reason", r.reason},
            {"owner", r.owner},
            {"since", micros(r.since)},
            {"lease_ms", r.lease.count()},
            {"on_lease_end", name_of(lease_ends, r.on_lease_end)},
            {"until", optional_time(r.until)},
            {"drain_timeout_ms", r.drain_timeout.count()},
            {"on_deadline", name_of(deadlines, r.on_deadline)},
            {"freeze", r.freeze}};
}

window_request read_request(json const& in, std::int64_t found_version) {
    window_request r;
    r.reason = in.at("reason").get<std::string>();
    r.owner = in.at("owner").get<std::string>();
    r.until = time_in(in, "until");
    r.drain_timeout = config::milliseconds(number_in(in, "drain_timeout_ms", longest_drain));
    r.on_deadline = value_of(deadlines, in.at("on_deadline").get<std::string>());
    r.freeze = in.at("freeze").get<bool>();
    if (found_version < 2) return r;
    r.as = in.at("as").get<std::string>();
    r.since = moment_in(in, "since");
    r.lease = config::milliseconds(number_in(in, "lease_ms", longest_drain));
    r.on_lease_end = value_of(lease_ends, in.at("on_lease_end").get<std::string>());
    return r;
}

json write_horizon(horizon const& h) {
    return {{"snapshot", h.snapshot},
            {"commits", h.activity.commits},
            {"rows", h.activity.rows},
            {"server", h.server}};
}

horizon read_horizon(json const& in) {
    return {in.at("snapshot").get<std::string>(),
            {number_in(in, "commits", highest), number_in(in, "rows", highest)},
            in.value("server", "")};
}

json write_marks(std::vector<xid_mark> const& marks) {
    json out = json::array();
    for (xid_mark const& m : marks)
        out.push_back({{"xid", m.xid}, {"migration", m.migration}, {"who", m.who}, {"through_lull", m.through_lull}});
    return out;
}

std::vector<xid_mark> read_marks(json const& in) {
    if (!in.is_array() || in.size() > most_marks) throw bad_state{"marks is out of range"};
    std::vector<xid_mark> out;
    for (json const& m : in)
        out.push_back({static_cast<std::uint64_t>(number_in(m, "xid", highest)), m.at("migration").get<bool>(),
                       m.at("who").get<std::string>(), m.value("through_lull", false)});
    return out;
}

json write_fence(std::vector<fence_setting> const& fence) {
    json out = json::array();
    for (fence_setting const& s : fence)
        out.push_back({{"database", s.database},
                       {"role", s.role},
                       {"database_oid", s.database_oid},
                       {"role_oid", s.role_oid},
                       {"before", s.before ? json(*s.before) : json(nullptr)},
                       {"read_only", s.read_only}});
    return out;
}

std::vector<fence_setting> read_fence(json const& in) {
    if (!in.is_array() || in.size() > most_settings) throw bad_state{"fence is out of range"};
    std::vector<fence_setting> out;
    for (json const& s : in) {
        fence_setting one;
        one.database = s.at("database").get<std::string>();
        one.role = s.at("role").get<std::string>();
        one.database_oid = static_cast<std::uint32_t>(number_in(s, "database_oid", highest_oid));
        one.role_oid = static_cast<std::uint32_t>(number_in(s, "role_oid", highest_oid));
        if (!s.at("before").is_null()) one.before = s.at("before").get<std::string>();
        one.read_only = s.at("read_only").get<bool>();
        out.push_back(std::move(one));
    }
    return out;
}

json write_record(maintenance_record const& r) {
    json others = json::array();
    for (window_request const& c : r.others) others.push_back(write_request(c));
    json replicas = json::array();
    for (paused_replica const& p : r.replicas)
        replicas.push_back({{"address", p.address}, {"at", optional_lsn(p.at)}});
    json out{{"phase", name_of(phases, r.phase)},
             {"epoch", static_cast<std::uint64_t>(r.epoch)},
             {"since", micros(r.since)},
             {"request", write_request(r.request)},
             {"others", others},
             {"sealed_lsn", optional_lsn(r.sealed_lsn)},
             {"sealed_at", optional_time(r.sealed_at)},
             {"sealed_epoch", static_cast<std::uint64_t>(r.sealed_epoch)},
             {"replicas", replicas},
             {"fence", write_fence(r.fence)},
             {"waited_for", r.waited_for},
             {"databases", r.databases},
             {"at_sealing", write_horizon(r.at_sealing)},
             {"marks", write_marks(r.marks)},
             {"untold", nullptr},
             {"last_window", nullptr}};
    if (r.untold)
        out["untold"] = {{"reason", r.untold->reason},
                         {"owner", r.untold->owner},
                         {"sealed_lsn", optional_lsn(r.untold->sealed_lsn)}};
    if (r.last_window) {
        past_window const& w = *r.last_window;
        out["last_window"] = {{"epoch", static_cast<std::uint64_t>(w.epoch)},
                              {"reason", w.reason},
                              {"owner", w.owner},
                              {"sealed_lsn", optional_lsn(w.sealed_lsn)},
                              {"sealed_at", micros(w.sealed_at)},
                              {"finish_lsn", optional_lsn(w.finish_lsn)},
                              {"reopened_at", micros(w.reopened_at)},
                              {"waited_for", w.waited_for},
                              {"at_sealing", write_horizon(w.at_sealing)},
                              {"at_end", write_horizon(w.at_end)},
                              {"marks", write_marks(w.marks)}};
    }
    return out;
}

maintenance_record read_record(json const& in, std::int64_t found_version) {
    maintenance_record r;
    r.phase = value_of(phases, in.at("phase").get<std::string>());
    r.epoch = epoch_in(in, "epoch");
    r.since = moment_in(in, "since");
    r.request = read_request(in.at("request"), found_version);
    if (found_version >= 2) {
        if (!in.at("others").is_array() || in.at("others").size() > most_claims)
            throw bad_state{"others is out of range"};
        for (json const& c : in.at("others")) r.others.push_back(read_request(c, found_version));
        r.at_sealing = read_horizon(in.at("at_sealing"));
        r.marks = read_marks(in.at("marks"));
        if (in.contains("fence")) r.fence = read_fence(in.at("fence"));
    }
    r.sealed_lsn = lsn_in(in, "sealed_lsn");
    r.sealed_at = time_in(in, "sealed_at");
    r.sealed_epoch = epoch_in(in, "sealed_epoch");
    for (json const& p : in.at("replicas"))
        r.replicas.push_back({p.at("address").get<std::string>(), lsn_in(p, "at")});
    r.waited_for = in.at("waited_for").get<std::vector<std::string>>();
    if (auto const d = in.find("databases"); d != in.end()) {
        if (!d->is_array() || d->size() > most_databases) throw bad_state{"databases is out of range"};
        r.databases = d->get<std::vector<std::string>>();
    }
    if (auto const u = in.find("untold"); u != in.end() && !u->is_null())
        r.untold = untold_end{u->at("reason").get<std::string>(), u->at("owner").get<std::string>(),
                              lsn_in(*u, "sealed_lsn")};
    if (json const& w = in.at("last_window"); !w.is_null()) {
        past_window p;
        p.epoch = epoch_in(w, "epoch");
        p.reason = w.at("reason").get<std::string>();
        p.owner = w.at("owner").get<std::string>();
        p.sealed_lsn = lsn_in(w, "sealed_lsn");
        p.sealed_at = moment_in(w, "sealed_at");
        p.finish_lsn = lsn_in(w, "finish_lsn");
        p.reopened_at = moment_in(w, "reopened_at");
        p.waited_for = w.at("waited_for").get<std::vector<std::string>>();
        if (found_version >= 2) {
            p.at_sealing = read_horizon(w.at("at_sealing"));
            p.at_end = read_horizon(w.at("at_end"));
            p.marks = read_marks(w.at("marks"));
        }
        r.last_window = std::move(p);
    }
    return r;
}

}  // namespace

std::uint64_t highest_epoch(maintenance_records const& records) {
    std::uint64_t highest = 0;
    for (auto const& [name, record] : records)
        highest = std::max(highest, static_cast<std::uint64_t>(record.epoch));
    return highest;
}

std::string format_state(maintenance_records const& records) {
    json sites = json::object();
    for (auto const& [name, record] : records) sites[name] = write_record(record);
    // A text with bytes that are not UTF-8 (a reason, a user's name) must not keep a window from being
    // recorded.
    return json{{"version", version}, {"epoch", highest_epoch(records)}, {"sites", sites}}.dump(
               1, ' ', false, json::error_handler_t::replace) +
           "\n";
}

std::variant<maintenance_records, std::string> parse_state(std::string_view text) {
    json const in = json::parse(text, nullptr, false);
    if (in.is_discarded() || !in.is_object()) return std::string("it is torn: not a JSON object");
    try {
        std::int64_t const found = number_in(in, "version", highest);
        if (found > version)
            return "it was written by a newer lull (version " + std::to_string(found) + ", this one reads " +
                   std::to_string(version) + ")";
        if (found < 1) throw bad_state{"its version is not known"};
        maintenance_records records;
        for (auto const& [name, record] : in.at("sites").items()) records[name] = read_record(record, found);
        return records;
    } catch (json::exception const& e) {
        return std::string("it is not a state of lull: ") + e.what();
    } catch (bad_state const& e) {
        return "it is not a state of lull: " + e.why;
    }
}

}  // namespace lull
