// Cancel keys: whose they are, and requests on their way to them.
#include "proxy/pg_cancel.hpp"
#include "proxy/pg_client.hpp"
#include "proxy/pg_service.hpp"

#include <openssl/crypto.h>

#include <algorithm>

namespace lull {

namespace {

/// Behind the secret of a request that a peer has handed on: nobody hands it on again, whatever the configurations say.
constexpr char handed_on = 'P';

/// In constant time.
bool same_secret(std::string_view a, std::string_view b) {
    return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool was_handed_on(std::string const& secret) {
    return secret.size() % 2 == 1 && secret.back() == handed_on;  // ours are even
}

}  // namespace

std::int32_t pg_service::enlist(pg_client& client) {
    std::int32_t key;
    do {
        next_key_ = (next_key_ + 1) & ((1 << worker_shift) - 1);
        key = peer_id_ << peer_shift | static_cast<std::int32_t>(id_) << worker_shift | next_key_;
    } while (key == 0 || by_key_.contains(key));
    by_key_[key] = &client;
    return key;
}

bool pg_service::pass_on(std::int32_t key_pid, std::string const& secret, std::shared_ptr<void> const& receipt) {
    std::int32_t const id = key_pid >> peer_shift;
    if (id == peer_id_ || was_handed_on(secret)) return false;
    auto const& peers = snapshot().config->listen.peers;
    auto const peer = std::find_if(peers.begin(), peers.end(), [&](config::peer const& p) {
        return static_cast<std::int32_t>(p.id) == id;
    });
    if (peer == peers.end()) return false;
    // Addresses are numbers: they are there at once.
    resolver_.resolve(peer->address, [&](std::vector<socket_address> addresses, std::string const&) {
        if (addresses.empty()) return;
        send_cancel(*this, {.address = addresses.front()}, key_pid, secret + handed_on, [receipt](cancel_end) {});
    });
    return true;
}

void pg_service::cancel(std::int32_t pid, std::string const& secret, std::shared_ptr<void> receipt) {
    auto const at = by_key_.find(pid);
    std::string_view const own = std::string_view(secret).substr(0, secret.size() - (was_handed_on(secret) ? 1 : 0));
    if (at == by_key_.end() || !same_secret(at->second->secret(), own)) return;
    touch_clock();
    at->second->cancel(std::move(receipt));
}

}  // namespace lull
