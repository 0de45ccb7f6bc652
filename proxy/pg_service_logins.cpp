// What logging in needs: randomness, secrets, and who was refused.
#include "config/issue.hpp"
#include "proxy/log.hpp"
#include "proxy/login_secret.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"

namespace lull {

namespace {

constexpr std::size_t refusals_a_second = 20;  // in the log

/// The same for all workers.
login_secret const& salts(std::string const& state_dir) {
    static login_secret const secret = load_login_secret(state_dir);
    return secret;
}

}  // namespace

void pg_service::salt_logins(std::string const& state_dir) {
    entropy_.process_secret = salts(state_dir);
}

std::string pg_service::random(std::size_t bytes) {
    std::string out(bytes, '\0');
    random_.fill(std::as_writable_bytes(std::span(out)));
    return out;
}

login_entropy pg_service::new_login() {
    login_entropy e = entropy_;
    random_.fill(e.nonce);
    return e;
}

std::shared_ptr<server_credentials const> pg_service::share(routing::site_id site, std::string const& user,
                                                            server_credentials credentials) {
    if (logins_.size() > 2 * clients_.size() + 64)
        std::erase_if(logins_, [](auto const& entry) { return entry.second.with.use_count() == 1; });
    known_login& known = logins_[user];
    bool const same = known.with && *known.with == credentials;
    if (!same) known.with = std::make_shared<server_credentials const>(std::move(credentials));
    // The replay of a journal, after a restart, has no other way to know. Told again each second: another worker may have told others.
    if (!same || known.told != site || context_.now - known.told_at >= std::chrono::seconds(1)) {
        control_.logged_in(site, user, *known.with);
        known.told = site;
        known.told_at = context_.now;
    }
    return known.with;
}

std::uint64_t pg_service::ask_secret(pg_client& client, std::string cluster, std::string user) {
    std::uint64_t const request = next_request_++;
    asked_[request] = &client;
    control_.find_secret(id_, request, std::move(cluster), std::move(user));
    return request;
}

void pg_service::doubt_secret(std::string cluster, std::string user) {
    control_.doubt_secret(std::move(cluster), std::move(user));
}

void pg_service::secret_found(std::uint64_t request, std::optional<std::string> secret, std::string error) {
    auto const at = asked_.find(request);
    if (at == asked_.end()) return;
    pg_client& client = *at->second;
    asked_.erase(at);
    touch_clock();
    client.secret_found(std::move(secret), error);
}

void pg_service::login_refused(std::string const& user, std::string const& database, std::string const& peer,
                               std::string const& why) {
    if (context_.now - refusals_since_ >= std::chrono::seconds(1)) {
        if (refusals_ > refusals_a_second) log::notice("{} more logins were refused", refusals_ - refusals_a_second);
        refusals_since_ = context_.now;
        refusals_ = 0;
    }
    if (++refusals_ > refusals_a_second) return;
    log::notice("login from {} as {} to {} refused: {}", peer, config::shown(user), config::shown(database), why);
}

}  // namespace lull
