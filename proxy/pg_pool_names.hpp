// What pool_core calls the servers and clients of a pg_pool.
#pragma once

#include "proxy/pool_core.hpp"

namespace lull {

class pg_client;
class pg_server;

inline pool_core::server name_of(pg_server& server) {
    return reinterpret_cast<pool_core::server>(&server);
}
inline pool_core::client name_of(pg_client& client) {
    return reinterpret_cast<pool_core::client>(&client);
}
inline pg_server& server_of(pool_core::server name) {
    return *reinterpret_cast<pg_server*>(name);
}
inline pg_client& client_of(pool_core::client name) {
    return *reinterpret_cast<pg_client*>(name);
}

}  // namespace lull
