#include "proxy/pg_login_core.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/frame.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/sqlstate.hpp"

#include <algorithm>

namespace lull {

namespace {

/// What every TLS connection begins with (RFC 8446, 5.1); as a length it would be far beyond the limit.
constexpr std::byte tls_handshake_record{0x16};
constexpr std::size_t longest_password_message = pg::max_scram_message_bytes + 256;

bool is_off(std::string_view value) {
    return value.empty() || value == "false" || value == "off" || value == "no" || value == "0";
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

}  // namespace

pg_login_core::pg_login_core(std::shared_ptr<routing::snapshot const> snapshot, bool migration,
                             login_channel channel, login_entropy const& entropy, verifier_cache& verifiers)
    : snapshot_(std::move(snapshot)),
      migration_(migration),
      channel_(std::move(channel)),
      entropy_(entropy),
      verifiers_(verifiers) {}

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
            auto const number = [&](std::size_t at) {
                return std::to_string(std::to_integer<unsigned>(in[at]) << 8 |
                                      std::to_integer<unsigned>(in[at + 1]));
            };
            refuse(pg::sqlstate::feature_not_supported,
                   "unsupported frontend protocol " + number(4) + "." + number(6) +
                       ": server supports 3.0 to 3.0",
                   out);
        } else {
            refuse(pg::sqlstate::protocol_violation, message_of(*wrong), out);
        }
        return in.size();
    }
    // Nothing may follow before the answer: it could have been slipped in by somebody on the way, and would
    // pass for the encrypted client's (CVE-2021-23214).
    auto const answer = [&](bool& asked, std::size_t size, std::string_view kind, char word) {
        if (asked || in.size() > size) {
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
    std::vector<std::string_view> unsupported;
    std::map<std::string, std::string> made;
    auto add = [&](std::string const& name, std::string_view value) {
        std::string const key = lower(name);
        made[key] = startup_setting_sql(key, value);
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
            if (!is_off(value))
                return refuse(pg::sqlstate::feature_not_supported,
                              "replication connections are not supported", out,
                              "Connect to the server directly.");
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
    settings_.assign(made.begin(), made.end());
    if (startup.minor > 0 || !unsupported.empty())
        pg::write_negotiate_protocol_version(out, pg::protocol_3_0, unsupported);

    if (auto const at = snapshot_->by_database.find(database_); at != snapshot_->by_database.end()) {
        site_ = at->second;
        cluster_ = snapshot_->of(*site_).settings->cluster;
    }
    authenticate(out);
}

config::user const* pg_login_core::known_user() const {
    auto const at = snapshot_->config->users.find(user_);
    return at == snapshot_->config->users.end() ? nullptr : &at->second;
}

void pg_login_core::on_tls(tls_facts facts, std::string& out) {
    tls_ = std::move(facts);
    // Without it a program that speaks something else over TLS could be led here.
    if (direct_tls_ && !tls_->alpn)
        refuse(pg::sqlstate::protocol_violation,
               "received direct SSL connection request without ALPN protocol negotiation extension", out);
}

/// Whether client_tls.mode is content with how this client is connected.
bool pg_login_core::tls_suffices(std::string& out) {
    using mode = config::client_tls_mode;
    mode const wanted = snapshot_->config->client_tls.mode;
    if (wanted < mode::require || channel_.local) return true;
    if (!tls_) {
        refuse_host("no pg_hba.conf entry", out,
                    "The proxy takes encrypted connections only: connect with sslmode=require or better.");
        return false;
    }
    if (wanted >= mode::verify_ca && !tls_->verified) {
        refuse(pg::sqlstate::invalid_authorization_specification,
               "connection requires a valid client certificate", out);
        return false;
    }
    if (wanted == mode::verify_full && tls_->common_name != user_) {
        refuse(pg::sqlstate::invalid_authorization_specification,
               "certificate authentication failed for user \"" + user_ + "\"", out,
               "The common name of the certificate must be the name of the user.");
        return false;
    }
    return true;
}

void pg_login_core::authenticate(std::string& out) {
    if (!tls_suffices(out)) return;
    if (snapshot_->config->auth == config::auth_method::trust) return accept(out);
    config::user const* user = known_user();
    if (user && !user->password.empty()) {
        use_secret(user->password);
    } else if (site_ && snapshot_->config->clusters.at(cluster_).auth_query) {
        state_ = state::secret;
        need_ = need::secret;
        return;
    }
    on_secret(std::nullopt, {}, out);
}

void pg_login_core::use_secret(std::string const& secret) {
    if (pg::is_scram_verifier(secret)) {
        pg::verifier_result parsed = pg::parse_verifier(secret);
        if (auto* verifier = std::get_if<pg::scram_verifier>(&parsed)) {
            verifier_ = std::move(*verifier);
            known_ = true;
        }
        return;
    }
    auto const [entry, fresh] = verifiers_.try_emplace({user_, secret});
    if (fresh) {
        auto const salt = pg::salt_for(user_, entropy_.process_secret);
        pg::verifier_result made = pg::make_verifier(secret, salt);
        if (!std::holds_alternative<pg::scram_verifier>(made)) {
            verifiers_.erase(entry);
            return;
        }
        entry->second = std::move(std::get<pg::scram_verifier>(made));
    }
    verifier_ = entry->second;
    known_ = true;
}

void pg_login_core::on_secret(std::optional<std::string> secret, std::string const& error, std::string& out) {
    if (state_ == state::over) return;
    need_ = need::input;
    if (!error.empty())
        return refuse(pg::sqlstate::sqlclient_unable_to_establish_sqlconnection,
                      "cannot look up the user: " + error, out, "The cluster's auth_query failed.");
    if (secret && pg::is_scram_verifier(*secret)) use_secret(*secret);
    // A user that does not exist goes the same way, and fails at its end as one with a wrong password.
    if (!known_) verifier_ = pg::mock_verifier(user_, entropy_.process_secret);
    static constexpr std::string_view mechanisms[] = {pg::scram_sha_256};
    pg::write_authentication_sasl(out, mechanisms);
    scram_.emplace();
    state_ = state::sasl_initial;
}

std::size_t pg_login_core::on_password(pg::bytes in, std::string& out) {
    pg::frame_result const next = pg::next_frame(in, longest_password_message);
    if (std::holds_alternative<need_more>(next)) return 0;
    auto const* frame = std::get_if<pg::frame>(&next);
    if (!frame || frame->type != pg::frontend::password) {
        if (frame && frame->type == pg::frontend::terminate) {
            need_ = need::close;
            state_ = state::over;
        } else {
            refuse(pg::sqlstate::protocol_violation, "expected SASL response", out);
        }
        return in.size();
    }
    if (state_ == state::sasl_initial) {
        auto const initial = pg::parse_sasl_initial_response(frame->body);
        if (!initial || initial->mechanism != pg::scram_sha_256) {
            refuse(pg::sqlstate::protocol_violation,
                   "client selected an invalid SASL authentication mechanism", out);
            return in.size();
        }
        pg::scram_result const first =
            scram_->start(initial->data.value_or(""), verifier_, pg::make_nonce(entropy_.nonce));
        if (auto const* text = std::get_if<std::string>(&first)) {
            pg::write_authentication_sasl_continue(out, *text);
            state_ = state::sasl_response;
        } else {
            refuse(pg::sqlstate::protocol_violation, message_of(std::get<errc>(first)), out);
        }
        return frame->whole.size();
    }
    auto const response = pg::parse_sasl_response(frame->body);
    pg::scram_result const last = scram_->finish(response.value_or(""));
    if (auto const* wrong = std::get_if<errc>(&last)) {
        if (*wrong == errc::scram_wrong_proof)
            refuse_password(out);
        else
            refuse(pg::sqlstate::protocol_violation, message_of(*wrong), out);
        return frame->whole.size();
    }
    if (!known_) {
        refuse_password(out);
        return frame->whole.size();
    }
    pg::write_authentication_sasl_final(out, std::get<std::string>(last));
    keys_ = scram_->keys();
    accept(out);
    return frame->whole.size();
}

void pg_login_core::accept(std::string& out) {
    if (!site_)
        return refuse(pg::sqlstate::invalid_catalog_name, "database \"" + database_ + "\" does not exist",
                      out, "No site of the configuration has this database.");
    auto const& allowed = snapshot_->of(*site_).settings->migration_users;
    if (migration_ && !allowed.empty() && std::find(allowed.begin(), allowed.end(), user_) == allowed.end())
        return refuse(pg::sqlstate::invalid_authorization_specification,
                      "user \"" + user_ + "\" may not use the migration port", out,
                      "The site's migration.users lists who may.");
    pg::write_authentication_ok(out);
    need_ = need::session;
    state_ = state::over;
}

/// As PostgreSQL says it: `no pg_hba.conf entry for host "192.0.2.1", user "u", database "d", no encryption`.
void pg_login_core::refuse_host(std::string_view why, std::string& out, std::string_view hint) {
    std::string message(why);
    message.append(" for host \"").append(channel_.local ? "[local]" : channel_.address);
    message.append("\", user \"").append(user_).append("\", database \"").append(database_);
    message.append("\", ").append(tls_ ? "SSL encryption" : "no encryption");
    refuse(pg::sqlstate::invalid_authorization_specification, message, out, hint);
}

void pg_login_core::refuse(std::string_view sqlstate, std::string_view message, std::string& out,
                           std::string_view hint, std::string_view detail) {
    pg::write_error_response(
        out, {.severity = "FATAL", .sqlstate = sqlstate, .message = message, .detail = detail, .hint = hint});
    need_ = need::close;
    state_ = state::over;
}

void pg_login_core::refuse_password(std::string& out) {
    refuse(pg::sqlstate::invalid_password, "password authentication failed for user \"" + user_ + "\"", out);
}

void pg_login_core::on_timeout(std::string& out) {
    if (state_ != state::over || need_ == need::secret)
        refuse(pg::sqlstate::query_canceled, "canceling authentication due to timeout", out);
}

session_identity pg_login_core::identity() const {
    session_identity who;
    who.site = *site_;
    who.database = database_;
    who.user = user_;
    who.migration = migration_;
    who.startup = settings_;
    return who;
}

server_credentials pg_login_core::credentials() const {
    server_credentials c;
    if (config::user const* user = known_user()) {
        if (!user->server_password.empty())
            c.password = user->server_password;
        else if (!pg::is_scram_verifier(user->password))
            c.password = user->password;
    }
    if (c.password.empty()) c.keys = keys_;
    return c;
}

}  // namespace lull
