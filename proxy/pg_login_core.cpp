#include "proxy/pg_login_core.hpp"

#include "config/ascii.hpp"
#include "config/in_force.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"

#include <algorithm>

namespace lull {

namespace {

/// What every TLS connection begins with (RFC 8446, 5.1); as a length it would be far beyond the limit.
constexpr std::byte tls_handshake_record{0x16};

/// Nothing: PostgreSQL takes no such value either.
std::optional<replication_kind> replication_of(std::string_view value) {
    if (value == "database") return replication_kind::of_database;
    for (std::string_view const off : {"", "false", "off", "no", "0", "f", "n"})
        if (value == off) return replication_kind::none;
    for (std::string_view const on : {"true", "on", "yes", "1", "t", "y"})
        if (value == on) return replication_kind::physical;
    return std::nullopt;
}

/// What the packet stands for where no version of ours stands.
std::string version_error(pg::bytes packet) {
    auto const number = [&](std::size_t at) {
        return std::to_string(std::to_integer<unsigned>(packet[at]) << 8 | std::to_integer<unsigned>(packet[at + 1]));
    };
    return "unsupported frontend protocol " + number(4) + "." + number(6) + ": server supports 3.0 to 3.2";
}

}  // namespace

pg_login_core::pg_login_core(std::shared_ptr<routing::snapshot const> snapshot, bool migration,
                             login_channel channel, login_entropy const& entropy, verifier_cache& verifiers,
                             login_guard& guard)
    : snapshot_(std::move(snapshot)),
      migration_(migration),
      channel_(std::move(channel)),
      entropy_(entropy),
      verifiers_(verifiers),
      guard_(guard) {}

std::size_t pg_login_core::on_client(pg::bytes in, std::string& out) {
    std::size_t used = 0;
    while (need_ == need::input && used < in.size()) {
        std::size_t const n =
            state_ == state::startup ? on_startup(in.subspan(used), out) : on_password(in.subspan(used), out);
        if (n == 0) break;
        used += n;
    }
    return used;
}

std::size_t pg_login_core::on_startup(pg::bytes in, std::string& out) {
    if (in.front() == tls_handshake_record && channel_.tls && !tls_ && !asked_ssl_ && !asked_gss_) {
        direct_tls_ = true;
        need_ = need::tls;
        return 0;
    }
    pg::startup_result const result = pg::parse_startup(in);
    if (std::holds_alternative<need_more>(result)) return 0;
    if (auto const* wrong = std::get_if<errc>(&result)) {
        if (*wrong == errc::unsupported_protocol_version) {
            refuse(pg::sqlstate::feature_not_supported, version_error(in), out);
        } else if (*wrong == errc::malformed_startup) {
            refuse(pg::sqlstate::protocol_violation,
                   "invalid startup packet layout: expected terminator as last byte", out);
        } else {
            refuse(pg::sqlstate::protocol_violation, message_of(*wrong), out);
        }
        return in.size();
    }
    // Nothing may follow before the answer: it could have been slipped in by somebody on the way, and would
    // pass for the encrypted client's (CVE-2021-23214).
    auto const answer = [&](bool& asked, std::size_t size, std::string_view kind, char word) {
        if (asked) {  // once is a question; again it is a version that nobody speaks
            refuse(pg::sqlstate::feature_not_supported, version_error(in), out);
            return in.size();
        }
        if (in.size() > size) {
            refuse(pg::sqlstate::protocol_violation,
                   "received unencrypted data after " + std::string(kind) + " request", out, {},
                   "This could be either a client-software bug or evidence of an attempted "
                   "man-in-the-middle attack.");
            return in.size();
        }
        asked = true;
        out += word;
        return size;
    };
    if (auto const* ssl = std::get_if<pg::ssl_request>(&result)) {
        bool const yes = channel_.tls && !tls_;
        std::size_t const used = answer(asked_ssl_, ssl->packet_bytes, "SSL", yes ? 'S' : 'N');
        if (yes && need_ == need::input) need_ = need::tls;
        return used;
    }
    if (auto const* gss = std::get_if<pg::gssenc_request>(&result))
        return answer(asked_gss_, gss->packet_bytes, "GSSAPI encryption", 'N');
    if (auto const* cancel = std::get_if<pg::cancel_request>(&result)) {
        cancel_pid_ = cancel->pid;
        cancel_secret_ = pg::as_text(cancel->secret);
        need_ = need::cancel;
        state_ = state::over;
        return cancel->packet_bytes;
    }
    auto const& startup = std::get<pg::startup_message>(result);
    begin(startup, out);
    return startup.packet_bytes;
}

void pg_login_core::begin(pg::startup_message const& startup, std::string& out) {
    if (turned_away_)
        return refuse(pg::sqlstate::too_many_connections, too_many_clients, out, too_many_clients_hint);
    std::vector<std::string_view> unsupported;
    std::string no_setting;
    bool const replicates = startup.find("replication").has_value();
    auto add = [&](std::string const& name, std::string_view value) {
        std::string key = ascii_lower(name);
        // In a startup packet these would say anew whose session it is, and PostgreSQL takes the last.
        if (key.empty() || key == "user" || key == "database" || key == "replication" || key == "options" || key.starts_with("_pq_."))
            no_setting = name;
        settings_.emplace_back(std::move(key), setting_value(value, {}));
        if (replicates) parameters_.emplace_back(name, value);
    };
    user_ = startup.find("user").value_or("");
    database_ = startup.find("database").value_or("");
    if (database_.empty()) database_ = user_;
    if (user_.empty())
        return refuse(pg::sqlstate::invalid_authorization_specification,
                      "no PostgreSQL user name specified in startup packet", out);
    for (auto const& [name, value] : startup.parameters) {
        if (name == "user" || name == "database") continue;
        if (name.starts_with("_pq_.")) {
            unsupported.push_back(name);
        } else if (name == "replication") {
            auto const kind = replication_of(ascii_lower(value));
            if (!kind)
                return refuse(pg::sqlstate::invalid_parameter_value,
                              "invalid value for parameter \"replication\": \"" + value + "\"", out,
                              "Valid values are: \"false\", 0, \"true\", 1, \"database\".");
            replication_ = *kind;
        } else if (name == "options") {
            auto const options = pg::parse_options(value);
            auto const* list = std::get_if<pg::parameter_list>(&options);
            if (!list)
                return refuse(pg::sqlstate::protocol_violation, message_of(std::get<errc>(options)), out,
                              "Of the startup parameter options, \"-c name=value\" and \"--name=value\" are "
                              "supported.");
            for (auto const& [option, setting] : *list) add(option, setting);
        }
    }
    for (auto const& [name, value] : startup.parameters)
        if (name != "user" && name != "database" && name != "options" && name != "replication" &&
            !name.starts_with("_pq_."))
            add(name, value);
    sort_settings(settings_);
    if (replicates && !no_setting.empty())
        return refuse(pg::sqlstate::undefined_object, "unrecognized configuration parameter \"" + no_setting + "\"", out);
    // The newest that both speak; a client that asked for just that and no extension is not told.
    protocol_ = startup.minor >= 2 ? pg::protocol_3_2 : pg::protocol_3_0;
    if ((pg::protocol_3_0 | startup.minor) != protocol_ || !unsupported.empty())
        pg::write_negotiate_protocol_version(out, protocol_, unsupported);

    if (auto const at = snapshot_->by_database.find(database_); at != snapshot_->by_database.end())
        site_ = at->second;
    if (!site_ && replication_ == replication_kind::physical) {
        // It is of no database, whatever it names: libpq's programs say "replication". With one cluster its
        // server is known.
        auto const& sites = snapshot_->sites;
        bool const one_cluster = std::all_of(sites.begin(), sites.end(), [&](routing::site const& s) {
            return s.settings->cluster == sites.front().settings->cluster;
        });
        if (one_cluster && !sites.empty()) site_ = sites.front().id;
    }
    if (site_) cluster_ = snapshot_->of(*site_).settings->cluster;
    if (replication_ == replication_kind::none) parameters_.clear();
    authenticate(out);
}

std::string_view pg_login_core::startup_parameter(std::string_view name) const {
    auto const at = std::find_if(parameters_.rbegin(), parameters_.rend(),
                                 [&](auto const& p) { return p.first == name; });
    return at == parameters_.rend() ? std::string_view() : at->second;
}

std::string pg_login_core::replication_packet() const {
    bool const of_database = replication_ == replication_kind::of_database;
    pg::parameter_list all = parameters_;
    all.emplace_back("user", user_);
    all.emplace_back("replication", of_database ? "database" : "true");
    if (of_database) all.emplace_back("database", database_);
    std::string packet;
    pg::write_startup(packet, all);
    return packet;
}

void pg_login_core::on_tls(tls_facts facts, std::string& out) {
    tls_ = std::move(facts);
    // Without it a program that speaks something else over TLS could be led here.
    if (direct_tls_ && !tls_->alpn)
        refuse(pg::sqlstate::protocol_violation,
               "received direct SSL connection request without ALPN protocol negotiation extension", out);
}

void pg_login_core::refuse(std::string_view sqlstate, std::string_view message, std::string& out,
                           std::string_view hint, std::string_view detail) {
    pg::write_error_response(
        out, {.severity = "FATAL", .sqlstate = sqlstate, .message = message, .detail = detail, .hint = hint});
    refusal_ = message;
    need_ = need::close;
    state_ = state::over;
}

void pg_login_core::on_timeout(std::string& out) {
    if (state_ != state::over || need_ == need::secret)
        refuse(pg::sqlstate::query_canceled, "canceling authentication due to timeout", out);
}

session_identity pg_login_core::take_identity() {
    session_identity who;
    who.site = *site_;
    who.pool_mode =
        config::pool_mode_of(*snapshot_->config, *snapshot_->of(*site_).settings, database_, user_);
    who.database = std::move(database_);
    who.user = std::move(user_);
    who.migration = migration_;
    who.startup = std::make_unique<setting_map>(std::move(settings_));
    return who;
}

bool pg_login_core::wants_console() const {
    config::console const& c = snapshot_->config->console;
    return database_ == c.database && !(c.admins.empty() && c.stats.empty());
}

std::optional<console_right> pg_login_core::console() const {
    config::console const& c = snapshot_->config->console;
    if (std::ranges::find(c.admins, user_) != c.admins.end()) return console_right::all;
    if (std::ranges::find(c.stats, user_) != c.stats.end()) return console_right::show;
    return std::nullopt;
}

}  // namespace lull
