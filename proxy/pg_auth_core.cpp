// The second half of pg_login_core: who the client is said to be has been told, now he shows that he is.
#include "config/duration.hpp"
#include "config/network.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/frame.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/md5.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "protocol/utf8.hpp"
#include "proxy/pg_login_core.hpp"

#include <algorithm>
#include <chrono>

namespace lull {

namespace {

using config::auth_method;

constexpr std::size_t longest_password_message = pg::max_scram_message_bytes + 256;

}  // namespace

config::user const* pg_login_core::known_user() const {
    auto const at = snapshot_->config->users.find(wish_->user);
    return at == snapshot_->config->users.end() ? nullptr : &at->second;
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
    if (wanted == mode::verify_ca) return certificate_suffices(config::client_certificate::verify_ca, out);
    if (wanted == mode::verify_full)
        return certificate_suffices(config::client_certificate::verify_full, out);
    return true;
}

bool pg_login_core::certificate_suffices(config::client_certificate wanted, std::string& out) {
    if (wanted == config::client_certificate::not_asked) return true;
    if (!tls_ || !tls_->verified) {
        refuse(pg::sqlstate::invalid_authorization_specification,
               "connection requires a valid client certificate", out);
        return false;
    }
    if (wanted == config::client_certificate::verify_full && tls_->common_name != wish_->user) {
        refuse(pg::sqlstate::invalid_authorization_specification,
               "certificate authentication failed for user \"" + wish_->user + "\"", out,
               "The common name of the certificate must be the name of the user.");
        return false;
    }
    return true;
}

routing::newcomer pg_login_core::newcomer() const {
    routing::newcomer who;
    who.local = channel_.local;
    who.tls = tls_.has_value();
    who.replication = wish_->replication == replication_kind::physical;
    who.address = config::parse_peer_address(channel_.address);
    if (channel_.own) who.own = channel_.own();
    who.user = wish_->user;
    who.database = wish_->database;
    return who;
}

void pg_login_core::authenticate(std::string& out) {
    if (!tls_suffices(out)) return;
    config::config const& config = *snapshot_->config;
    method_ = config.auth;
    if (config.has_hba()) {
        config::hba_rule const* const rule = routing::admit(config.hba_rules, newcomer());
        if (!rule) return refuse_host("no pg_hba.conf entry", out, {});
        if (rule->method == auth_method::reject)
            return refuse_host("pg_hba.conf rejects connection", out, {});
        method_ = rule->method;
        if (!certificate_suffices(rule->certificate, out)) return;
    }
    switch (method_) {
        case auth_method::trust:
            return accept(out);
        case auth_method::reject:
            return refuse_host("pg_hba.conf rejects connection", out, {});
        case auth_method::cert:
            if (certificate_suffices(config::client_certificate::verify_full, out)) accept(out);
            return;
        case auth_method::peer:
            if (!wish_->user.empty() && channel_.os_user == wish_->user) return accept(out);
            return refuse(pg::sqlstate::invalid_authorization_specification,
                          "Peer authentication failed for user \"" + wish_->user + "\"", out);
        case auth_method::password:
        case auth_method::md5:
        case auth_method::scram_sha_256:
            return find_secret(out);
    }
}

/// Asked again before an answer is judged: whoever opens many logins at once has as many guesses as one by one.
bool pg_login_core::refused_as_guess(std::string& out) {
    if (!guard_.blocked(channel_.address, wish_->user)) return false;
    turned_away_ = turned_away_by::failed_logins;
    // One more may fail each time that its share of the window has passed.
    config::limits const& l = snapshot_->config->limits;
    auto const share = l.failed_login_window / static_cast<config::milliseconds::rep>(std::max<std::size_t>(1, l.max_failed_logins));
    auto const pause = std::chrono::floor<std::chrono::seconds>(share) + std::chrono::seconds(1);
    refuse(pg::sqlstate::invalid_authorization_specification,
           "too many failed authentication attempts for user \"" + wish_->user + "\"", out,
           "Wait " + config::format_duration(pause) +
               ", then try again; the limits are limits.max_failed_logins and limits.failed_login_window.");
    return true;
}

void pg_login_core::find_secret(std::string& out) {
    if (refused_as_guess(out)) return;
    config::user const* const user = known_user();
    if (user && !user->password.empty()) {
        use_secret(user->password);
    } else if (has_query()) {
        asked_query_ = true;
        state_ = state::secret;
        need_ = need::secret;
        return;
    }
    challenge(out);
}

/// Whether there is a server to ask. Of a database of no site it is that of the only cluster that has a query. Nobody is
/// asked of the console: who may create roles on a server would be its admin.
bool pg_login_core::has_query() {
    auto const& clusters = snapshot_->config->clusters;
    if (wants_console()) return false;
    // The server would answer with an error, and no such answer is held against who asks.
    if (as_utf8(wish_->user) != wish_->user) return false;
    if (site_) return clusters.at(cluster_).auth_query.has_value();
    auto const asks = [](auto const& c) { return c.second.auth_query.has_value(); };
    auto const only = std::find_if(clusters.begin(), clusters.end(), asks);
    if (only == clusters.end() || std::count_if(clusters.begin(), clusters.end(), asks) > 1) return false;
    cluster_ = only->first;
    return true;
}

void pg_login_core::use_secret(std::string const& secret) {
    if (pg::is_md5_hash(secret)) {
        md5_hash_ = secret;
        return;
    }
    if (pg::is_scram_verifier(secret)) {
        pg::verifier_result parsed = pg::parse_verifier(secret);
        if (auto* verifier = std::get_if<pg::scram_verifier>(&parsed)) {
            verifier_ = std::move(*verifier);
            known_ = true;
        }
        return;
    }
    auto const [entry, fresh] = verifiers_.try_emplace({wish_->user, secret});
    if (fresh) {
        auto const salt = pg::salt_for(wish_->user, entropy_.process_secret);
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
    if (!answer_.empty()) return on_second_secret(std::move(secret), error, out);
    if (!error.empty())  // what it says of servers and roles is for the log
        return refuse(pg::sqlstate::sqlclient_unable_to_establish_sqlconnection, "cannot look up the user", out,
                      "The cluster's auth_query failed; the proxy's log says why.");
    use_found(std::move(secret));
    challenge(out);
}

void pg_login_core::use_found(std::optional<std::string> secret) {
    found_ = std::move(secret);
    known_ = false;
    md5_hash_.clear();
    if (found_ && (pg::is_scram_verifier(*found_) || pg::is_md5_hash(*found_))) use_secret(*found_);
}

/// For an answer that the first has not let in, or has not been held against.
void pg_login_core::on_second_secret(std::optional<std::string> secret, std::string const& error, std::string& out) {
    if (charge_) {
        // Nothing new: the work of judging it again would only tell that there is a secret.
        if (!error.empty() || secret == found_) return refuse_password(out);
    } else if (refused_as_guess(out)) {
        return;  // there was no place, and those who had them were wrong
    }
    if (error.empty()) use_found(std::move(secret));
    if (!known_) verifier_ = pg::mock_verifier(wish_->user, entropy_.process_secret);
    if (!answered_right()) return refuse_password(out);
    accept_answer(out);
}

void pg_login_core::challenge(std::string& out) {
    // A user that does not exist goes the same way, and fails at its end as one with a wrong password.
    if (!known_) verifier_ = pg::mock_verifier(wish_->user, entropy_.process_secret);
    if (method_ == auth_method::password) {
        pg::write_authentication_cleartext_password(out);
        state_ = state::cleartext;
        return;
    }
    if (method_ == auth_method::md5 && !md5_hash_.empty()) {
        pg::write_authentication_md5_password(out, md5_salt());
        state_ = state::md5;
        return;
    }
    std::string_view const offers[] = {pg::scram_sha_256_plus, pg::scram_sha_256};
    bool const can_bind = tls_ && !tls_->end_point.empty();
    pg::write_authentication_sasl(out, std::span(offers).subspan(can_bind ? 0 : 1));
    scram_.emplace();
    state_ = state::sasl_initial;
}

/// The nonce is SCRAM's; a login needs one of the two.
pg::bytes pg_login_core::md5_salt() const {
    return pg::bytes(entropy_.nonce).first(pg::md5_salt_bytes);
}

std::size_t pg_login_core::on_password(pg::bytes in, std::string& out) {
    pg::frame_result const next = pg::next_frame(in, longest_password_message);
    if (std::holds_alternative<need_more>(next)) return 0;
    auto const* frame = std::get_if<pg::frame>(&next);
    if (!frame || frame->type != pg::frontend::password) {
        if (frame && frame->type == pg::frontend::terminate) {
            need_ = need::close;
            state_ = state::over;
        } else if (state_ == state::cleartext || state_ == state::md5) {
            refuse(pg::sqlstate::protocol_violation, "expected password response", out);
        } else {
            refuse(pg::sqlstate::protocol_violation, "expected SASL response", out);
        }
        return in.size();
    }
    std::size_t const size = frame->whole.size();
    switch (state_) {
        case state::cleartext:
        case state::md5:
            on_plain_answer(frame->body, out);
            return size;
        case state::sasl_initial:
            return on_sasl_initial(frame->body, out) ? size : in.size();
        case state::sasl_response:
            on_sasl_response(frame->body, out);
            return size;
        case state::startup:
        case state::secret:
        case state::over:
            break;
    }
    return size;
}

void pg_login_core::on_plain_answer(pg::bytes body, std::string& out) {
    auto const answer = pg::parse_password(body);
    if (!answer) return refuse(pg::sqlstate::protocol_violation, "invalid password packet size", out);
    if (answer->empty())
        return refuse(pg::sqlstate::invalid_password, "empty password returned by client", out);
    if (refused_as_guess(out)) return;
    answer_ = *answer;
    by_md5_ = state_ == state::md5;
    if (!asked_query_) return answered_right() ? accept_answer(out) : refuse_password(out);
    // Perhaps what auth_query said is what was true some seconds ago. Until that is known a wrong answer holds the place of
    // one that has failed: who opens many logins at once does not get more guesses by it. Behind the last place nothing is
    // judged before the others are: after a change of the password they are all right, and all get in.
    if (guard_.reserve(channel_.address, wish_->user)) {
        charge_.emplace(guard_, channel_.address, wish_->user);
        if (answered_right()) return accept_answer(out);
    }
    doubts_secret_ = true;
    state_ = state::secret;
    need_ = need::secret;
}

bool pg_login_core::answered_right() const {
    if (by_md5_) {
        auto const wanted = md5_hash_.empty() ? std::nullopt : pg::md5_answer(md5_hash_, md5_salt());
        return wanted && pg::equal_secrets(*wanted, answer_);
    }
    // The work is the same whatever is stored, and whether anything is.
    pg::verifier_result const made = pg::make_verifier(answer_, verifier_.salt, verifier_.iterations);
    auto const* guess = std::get_if<pg::scram_verifier>(&made);
    bool const right = known_ && guess &&
                       pg::equal_secrets(pg::as_text(guess->stored_key), pg::as_text(verifier_.stored_key));
    if (md5_hash_.empty()) return right;
    auto const hash = pg::md5_hash(answer_, wish_->user);
    return hash && pg::equal_secrets(*hash, md5_hash_);
}

void pg_login_core::accept_answer(std::string& out) {
    if (charge_) charge_->take_back();
    charge_.reset();
    if (!by_md5_) cleartext_ = std::move(answer_);
    accept(out);
}

bool pg_login_core::on_sasl_initial(pg::bytes body, std::string& out) {
    auto const initial = pg::parse_sasl_initial_response(body);
    pg::scram_binding binding;
    if (tls_) binding.end_point = tls_->end_point;
    binding.plus = initial && initial->mechanism == pg::scram_sha_256_plus;
    if (!initial || (binding.plus ? binding.end_point.empty() : initial->mechanism != pg::scram_sha_256)) {
        refuse(pg::sqlstate::protocol_violation, "client selected an invalid SASL authentication mechanism",
               out);
        return false;
    }
    pg::scram_result const first =
        scram_->start(initial->data.value_or(""), verifier_, pg::make_nonce(entropy_.nonce), binding);
    if (auto const* text = std::get_if<std::string>(&first)) {
        pg::write_authentication_sasl_continue(out, *text);
        state_ = state::sasl_response;
    } else {
        errc const wrong = std::get<errc>(first);
        if (wrong == errc::scram_channel_binding)
            refuse(pg::sqlstate::invalid_authorization_specification, "SCRAM channel binding negotiation error", out);
        else
            refuse(pg::sqlstate::protocol_violation, message_of(wrong), out);
    }
    return true;
}

void pg_login_core::on_sasl_response(pg::bytes body, std::string& out) {
    if (refused_as_guess(out)) return;
    auto const response = pg::parse_sasl_response(body);
    pg::scram_result const last = scram_->finish(response.value_or(""));
    if (auto const* wrong = std::get_if<errc>(&last)) {
        if (*wrong == errc::scram_wrong_proof) return refuse_password(out);
        if (*wrong == errc::scram_channel_binding)
            return refuse(pg::sqlstate::invalid_authorization_specification, "SCRAM channel binding check failed", out);
        return refuse(pg::sqlstate::protocol_violation, message_of(*wrong), out);
    }
    if (!known_) return refuse_password(out);
    pg::write_authentication_sasl_final(out, std::get<std::string>(last));
    keys_ = scram_->keys();
    accept(out);
}

/// Replication connections are for those whom a rule lets in by the keyword `replication`, in Lull also where
/// they are of a database: what they say is judged by nobody.
bool pg_login_core::replication_suffices(std::string& out) {
    if (wish_->replication == replication_kind::none) return true;
    routing::newcomer who = newcomer();
    who.replication = true;
    config::hba_rule const* const rule = routing::admit(snapshot_->config->hba_rules, who);
    char const* hint = nullptr;
    if (migration_)
        hint = "The migration port does not pass them.";
    else if (!rule || rule->method == auth_method::reject)
        hint =
            "Connect to the server directly, or let this user in by a rule of the proxy's hba for the "
            "database replication.";
    else if (!site_)
        hint = "Name a database of the site whose primary is meant.";
    if (!hint) return true;
    refuse(pg::sqlstate::feature_not_supported, "replication connections are not allowed", out, hint);
    return false;
}

void pg_login_core::accept(std::string& out) {
    if (wants_console()) {
        if (!console())
            return refuse(pg::sqlstate::invalid_authorization_specification,
                          "user \"" + wish_->user + "\" may not use the console", out,
                          "The configuration's console.admins and console.stats list who may.");
        pg::write_authentication_ok(out);
        need_ = need::console;
        state_ = state::over;
        return;
    }
    if (!replication_suffices(out)) return;
    if (!site_)
        return refuse(pg::sqlstate::invalid_catalog_name, "database \"" + wish_->database + "\" does not exist",
                      out, "No site of the configuration has this database.");
    auto const& allowed = snapshot_->of(*site_).settings->migration_users;
    if (migration_ && !allowed.empty() && std::find(allowed.begin(), allowed.end(), wish_->user) == allowed.end())
        return refuse(pg::sqlstate::invalid_authorization_specification,
                      "user \"" + wish_->user + "\" may not use the migration port", out,
                      "The site's migration.users lists who may.");
    pg::write_authentication_ok(out);
    need_ = need::session;
    state_ = state::over;
}

/// As PostgreSQL says it: `no pg_hba.conf entry for host "192.0.2.1", user "u", database "d", no encryption`.
void pg_login_core::refuse_host(std::string_view why, std::string& out, std::string_view hint) {
    std::string message(why);
    message.append(" for host \"").append(channel_.local ? "[local]" : channel_.address);
    message.append("\", user \"").append(wish_->user).append("\", database \"").append(wish_->database);
    message.append("\", ").append(tls_ ? "SSL encryption" : "no encryption");
    refuse(pg::sqlstate::invalid_authorization_specification, message, out, hint);
}

void pg_login_core::refuse_password(std::string& out) {
    if (charge_)
        charge_.reset();
    else
        guard_.failed(channel_.address, wish_->user);
    doubts_secret_ = asked_query_;
    refuse(pg::sqlstate::invalid_password, "password authentication failed for user \"" + wish_->user + "\"", out);
}

server_credentials pg_login_core::credentials() const {
    server_credentials c;
    if (config::user const* user = known_user()) {
        if (!user->server_password.empty())
            c.password = user->server_password;
        else if (!pg::is_scram_verifier(user->password) && !pg::is_md5_hash(user->password))
            c.password = user->password;
    }
    if (c.password.empty()) c.password = cleartext_;
    if (c.password.empty()) c.keys = keys_;
    if (c.password.empty()) c.md5_hash = md5_hash_;
    return c;
}

}  // namespace lull
