#include "proxy/pg_login_core.hpp"

#include "config/in_force.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"

#include <algorithm>

namespace lull {

namespace {

/// What every TLS connection begins with (RFC 8446, 5.1); as a length it would be far beyond the limit.
constexpr std::byte tls_handshake_record{0x16};

/// Of who has not said yet what he wants.
std::shared_ptr<startup_wish const> const nothing_yet = std::make_shared<startup_wish const>();

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
                             startup_book& startups, login_guard& guard)
    : snapshot_(std::move(snapshot)),
      migration_(migration),
      channel_(std::move(channel)),
      entropy_(entropy),
      verifiers_(verifiers),
      startups_(startups),
      guard_(guard),
      wish_(nothing_yet) {}

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
    if (auto known = startups_.find(in)) {
        wish_ = std::move(known);
        begin(out);
        return wish_->packet_bytes;
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
    wish_ = startups_.keep(in, std::get<pg::startup_message>(result));
    begin(out);
    return wish_->packet_bytes;
}

void pg_login_core::begin(std::string& out) {
    if (crowded_ && !wants_console()) {
        turned_away_ = crowded_;
        return refuse(pg::sqlstate::too_many_connections, too_many_clients, out,
                      *crowded_ == turned_away_by::open_files ? too_many_files_hint : too_many_clients_hint);
    }
    if (auto const& wrong = wish_->wrong) return refuse(wrong->sqlstate, wrong->message, out, wrong->hint);
    out += wish_->negotiation;
    if (auto const at = snapshot_->by_database.find(wish_->database); at != snapshot_->by_database.end())
        site_ = at->second;
    if (!site_ && wish_->replication == replication_kind::physical) {
        // It is of no database, whatever it names: libpq's programs say "replication". With one cluster its
        // server is known.
        auto const& sites = snapshot_->sites;
        bool const one_cluster = std::all_of(sites.begin(), sites.end(), [&](routing::site const& s) {
            return s.settings->cluster == sites.front().settings->cluster;
        });
        if (one_cluster && !sites.empty()) site_ = sites.front().id;
    }
    if (site_) cluster_ = snapshot_->of(*site_).settings->cluster;
    authenticate(out);
}

std::string_view pg_login_core::startup_parameter(std::string_view name) const {
    auto const at = std::find_if(wish_->parameters.rbegin(), wish_->parameters.rend(),
                                 [&](auto const& p) { return p.first == name; });
    return at == wish_->parameters.rend() ? std::string_view() : at->second;
}

std::string pg_login_core::replication_packet() const {
    bool const of_database = wish_->replication == replication_kind::of_database;
    pg::parameter_list all = wish_->parameters;
    all.emplace_back("user", wish_->user);
    all.emplace_back("replication", of_database ? "database" : "true");
    if (of_database) all.emplace_back("database", wish_->database);
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
        refuse(pg::sqlstate::query_canceled, "canceling authentication due to timeout", out,
               "The limit of the proxy is limits.login_timeout.");
}

session_identity pg_login_core::identity() const {
    session_identity who;
    who.site = *site_;
    who.pool_mode =
        config::pool_mode_of(*snapshot_->config, *snapshot_->of(*site_).settings, wish_->database, wish_->user);
    who.database = wish_->database;
    who.user = wish_->user;
    who.migration = migration_;
    who.startup = wish_->settings;
    return who;
}

bool pg_login_core::wants_console() const {
    config::console const& c = snapshot_->config->console;
    return wish_->database == c.database && !(c.admins.empty() && c.stats.empty()) &&
           wish_->replication == replication_kind::none;
}

std::optional<console_right> pg_login_core::console() const {
    return console_right_of(snapshot_->config->console, wish_->user);
}

}  // namespace lull
