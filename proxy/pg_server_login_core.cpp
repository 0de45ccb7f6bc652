#include "proxy/pg_server_login_core.hpp"

#include "protocol/pg/backend.hpp"
#include "protocol/pg/frame.hpp"
#include "protocol/pg/frontend.hpp"
#include "protocol/pg/md5.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "protocol/pg/startup.hpp"

#include <algorithm>

namespace lull {

namespace {

constexpr std::size_t longest_message = 64 * 1024;
constexpr std::size_t most_parameters = 256;

}  // namespace

pg_server_login_core::pg_server_login_core(std::string user, std::string database, session_default mode,
                                           server_credentials credentials, std::string nonce,
                                           server_tls_wish tls)
    : user_(std::move(user)),
      database_(std::move(database)),
      mode_(mode),
      credentials_(std::move(credentials)),
      nonce_(std::move(nonce)),
      tls_(tls) {}

void pg_server_login_core::start(std::string& out) {
    switch (tls_) {
        case server_tls_wish::none:
            return begin(out);
        case server_tls_wish::direct:
            state_ = state::tls;
            return;
        case server_tls_wish::prefer:
        case server_tls_wish::require:
            state_ = state::asking;
            pg::write_ssl_request(out);
            return;
    }
}

/// One byte, and nothing behind it: more could have been slipped in by somebody on the way, and would pass
/// for the encrypted server's (CVE-2021-23222).
void pg_server_login_core::on_answer(pg::bytes in, std::string& out) {
    char const answer = static_cast<char>(in.front());
    if (answer == 'S' && in.size() == 1) {
        state_ = state::tls;
    } else if (answer == 'S') {
        fail(pg::sqlstate::protocol_violation, "received unencrypted data after SSL response");
    } else if (answer == 'N' && tls_ == server_tls_wish::prefer) {
        begin(out);
    } else if (answer == 'N') {
        fail(pg::sqlstate::sqlclient_unable_to_establish_sqlconnection,
             "server does not support SSL, but SSL was required",
             "Set ssl = on at the server, or another tls.mode for the cluster in the proxy's configuration.");
    } else {
        fail(pg::sqlstate::protocol_violation, "received invalid response to SSL negotiation");
    }
}

void pg_server_login_core::on_tls(bool alpn, std::string end_point, std::string& out) {
    if (tls_ == server_tls_wish::direct && !alpn)
        return fail(pg::sqlstate::protocol_violation,
                    "direct SSL connection was established without ALPN protocol negotiation extension");
    end_point_ = std::move(end_point);
    begin(out);
}

void pg_server_login_core::begin(std::string& out) {
    state_ = state::going;
    if (!packet_.empty()) {
        out += packet_;
        return;
    }
    pg::parameter_list parameters{{"user", user_}, {"database", database_}};
    switch (mode_) {
        case session_default::as_server:
            break;
        case session_default::read_only:
            parameters.emplace_back("options", "-c default_transaction_read_only=on");
            break;
        case session_default::read_write:
            parameters.emplace_back("options", "-c default_transaction_read_only=off");
            break;
    }
    pg::write_startup(out, parameters);
}

std::size_t pg_server_login_core::on_server(pg::bytes in, pg_server_state& server, setting_interner& settings,
                                            std::string& out) {
    if (in.empty()) return 0;
    if (state_ == state::asking) {
        on_answer(in, out);
        return 1;
    }
    std::size_t used = 0;
    while (state_ == state::going) {
        pg::frame_result const next = pg::next_frame(in.subspan(used), longest_message);
        if (std::holds_alternative<need_more>(next)) break;
        auto const* frame = std::get_if<pg::frame>(&next);
        if (!frame) {
            fail(pg::sqlstate::protocol_violation, "the server does not speak the PostgreSQL protocol",
                 "Check host and port of the cluster in the configuration.");
            break;
        }
        used += frame->whole.size();
        switch (frame->type) {
            case pg::backend::authentication:
                authenticate(frame->body, out);
                break;
            case pg::backend::parameter_status: {
                auto const p = pg::parse_parameter_status(frame->body);
                if (!p || reported_.size() >= most_parameters) {
                    fail(pg::sqlstate::protocol_violation, "the server sent a malformed ParameterStatus");
                    break;
                }
                if (p->name != "in_hot_standby" && p->name != "default_transaction_read_only")
                    reported_.emplace_back(p->name, p->value);
                break;
            }
            case pg::backend::backend_key_data:
                if (auto const key = pg::parse_backend_key_data(frame->body)) {
                    server.pid = key->pid;
                    server.secret = pg::as_text(key->secret);
                }
                break;
            case pg::backend::ready_for_query:
                if (!authenticated_) {
                    fail(pg::sqlstate::protocol_violation,
                         "the server was ready before it had authenticated us");
                    break;
                }
                std::sort(reported_.begin(), reported_.end());
                reported_.erase(std::unique(reported_.begin(), reported_.end(),
                                            [](auto const& a, auto const& b) { return a.first == b.first; }),
                                reported_.end());
                server.reported = settings.intern(std::move(reported_));
                server.actual = settings.none();
                server.status = pg::idle;
                state_ = state::ready;
                break;
            case pg::backend::error_response: {
                auto const fields = pg::parse_error_fields(frame->body);
                if (fields)
                    fail(fields->sqlstate.value_or(pg::sqlstate::connection_failure),
                         fields->message.value_or("the server refused the connection"),
                         fields->hint.value_or(""));
                else
                    fail(pg::sqlstate::connection_failure, "the server refused the connection");
                break;
            }
            case pg::backend::notice_response:
                break;
            default:
                fail(pg::sqlstate::protocol_violation, "the server sent an unexpected message during login");
                break;
        }
    }
    return used;
}

void pg_server_login_core::authenticate(pg::bytes body, std::string& out) {
    auto const message = pg::parse_authentication(body);
    if (!message)
        return fail(pg::sqlstate::protocol_violation, "the server sent a malformed authentication request");
    auto answer = [&](pg::scram_result const& result, auto write) {
        if (auto const* text = std::get_if<std::string>(&result))
            write(*text);
        else
            fail(pg::sqlstate::invalid_password, message_of(std::get<errc>(result)));
    };
    bool const has_secret = !credentials_.password.empty() || credentials_.keys;
    std::string const no_password =
        "the server wants a password for user \"" + user_ + "\" and the proxy has none";
    switch (message->code) {
        case pg::authentication_code::ok:
            if (scram_ && !scram_->succeeded())
                return fail(pg::sqlstate::invalid_password,
                            "the server did not prove that it knows the password");
            authenticated_ = true;
            return;
        case pg::authentication_code::cleartext_password:
            if (credentials_.password.empty())
                return fail(pg::sqlstate::invalid_password, no_password,
                            "Set users." + user_ + ".server_password.");
            pg::write_password(out, credentials_.password);
            return;
        case pg::authentication_code::sasl: {
            if (!has_secret)
                return fail(pg::sqlstate::invalid_password, no_password,
                            "Set users." + user_ + ".server_password.");
            pg::text_list mechanisms = message->mechanisms;
            bool offered = false;
            bool plus = false;
            while (auto const mechanism = mechanisms.next()) {
                offered = offered || *mechanism == pg::scram_sha_256;
                plus = plus || *mechanism == pg::scram_sha_256_plus;
            }
            if (!offered || scram_)
                return fail(pg::sqlstate::feature_not_supported, "the server offers no SCRAM-SHA-256");
            if (credentials_.keys)
                scram_.emplace(*credentials_.keys, nonce_);
            else
                scram_.emplace(credentials_.password, nonce_);
            plus = plus && !end_point_.empty();
            answer(scram_->client_first({}, {end_point_, plus}), [&](std::string const& text) {
                pg::write_sasl_initial_response(out, plus ? pg::scram_sha_256_plus : pg::scram_sha_256, text);
            });
            return;
        }
        case pg::authentication_code::sasl_continue:
            if (!scram_) break;
            answer(scram_->on_server_first(pg::as_text(message->data)),
                   [&](std::string const& text) { pg::write_sasl_response(out, text); });
            return;
        case pg::authentication_code::sasl_final:
            if (!scram_) break;
            if (auto const wrong = scram_->verify_server_final(pg::as_text(message->data)))
                fail(pg::sqlstate::invalid_password, wrong.message());
            return;
        case pg::authentication_code::md5_password: {
            std::string hash = credentials_.md5_hash;
            if (!credentials_.password.empty())
                hash = pg::md5_hash(credentials_.password, user_).value_or("");
            auto const text = hash.empty() ? std::nullopt : pg::md5_answer(hash, message->data);
            if (!text)
                return fail(pg::sqlstate::invalid_password, no_password,
                            "Set users." + user_ + ".server_password.");
            pg::write_password(out, *text);
            return;
        }
        default:
            break;
    }
    fail(pg::sqlstate::feature_not_supported, "the server wants an authentication that is not supported",
         "Use scram-sha-256 in the server's pg_hba.conf.");
}

void pg_server_login_core::fail(std::string_view sqlstate, std::string_view message, std::string_view hint) {
    error_.clear();
    pg::write_error_response(error_,
                             {.severity = "FATAL", .sqlstate = sqlstate, .message = message, .hint = hint});
    state_ = state::failed;
}

}  // namespace lull
