// Keys -> operations, bounded in entries and bytes. 4-way set-associative with one CLOCK bit an entry, so
// that a hit is a hash, a compare and nothing else. Owned by one classifier, one thread.
#pragma once

#include "routing/operation.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace lull::routing {

/// The two kinds of key never meet: a text may contain the placeholder bytes of the other kind.
enum class key_space : std::uint8_t { exact, normalised };

class verdict_cache {
  public:
    using verdict = std::shared_ptr<operation const>;

    /// entries is rounded up to a power of two, at least 4. The seed keeps strangers from choosing
    /// collisions; a collision only costs an eviction, because keys are compared in full.
    verdict_cache(std::size_t entries, std::size_t max_bytes, std::uint64_t seed);

    std::uint64_t hash_of(std::string_view key, key_space space) const;
    /// Null when absent. The pointer lives until the next put(). The hash is that of key and space.
    verdict const* find(std::string_view key, key_space space, std::uint64_t hash);
    /// Keeps a copy of the key; replaces an equal one. Entries that have not been used lately make room. Null
    /// when the entry alone would exceed the bound; otherwise it lives until the next put().
    verdict const* put(std::string_view key, key_space space, verdict value);

    /// Was the text with this hash asked about lately? Remembers it. May err either way; it only tells what is worth
    /// an entry.
    bool seen_before(std::uint64_t hash);

    std::size_t size() const { return count_; }
    std::size_t bytes() const { return bytes_; }

  private:
    static constexpr std::size_t ways = 4;
    struct entry {
        std::uint64_t hash = 0;
        std::unique_ptr<char[]> key;
        std::uint32_t key_bytes = 0;
        std::uint32_t charge = 0;  // what it counts against max_bytes
        key_space space = key_space::exact;
        bool used = false;
        verdict value;  // null: the slot is free
    };

    entry* lookup(std::string_view key, key_space space, std::uint64_t hash);
    void drop(entry& e);

    std::vector<entry> slots_;
    std::vector<std::uint32_t> seen_;  // marks of texts, one a place
    std::size_t max_bytes_;
    std::size_t bytes_ = 0;
    std::size_t count_ = 0;
    std::size_t hand_ = 0;
    std::uint64_t seed_;
};

}  // namespace lull::routing
