#include "routing/verdict_cache.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace lull::routing {
namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    auto const product = static_cast<unsigned __int128>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t load8(char const* p) {
    std::uint64_t v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

// What an operation occupies, roughly: strings of the small kind live inside.
std::size_t cost_of(operation const& op) {
    std::size_t bytes = sizeof(operation) + op.function.size();
    for (auto const& s : op.statements)
        bytes += sizeof(statement) + s.command.size() + s.name.size() + s.value.size() +
                 s.names.capacity() * sizeof(name_use);
    return bytes;
}

}  // namespace

verdict_cache::verdict_cache(std::size_t entries, std::size_t max_bytes, std::uint64_t seed)
    : slots_(std::bit_ceil(std::max<std::size_t>(entries, ways))),
      seen_(slots_.size()),
      max_bytes_(max_bytes),
      seed_(seed) {}

// In the manner of wyhash: 16 bytes a multiplication, three chains side by side for long keys, the last 16
// bytes read overlapping. Folded with the seed so that collisions cannot be prepared in advance.
std::uint64_t verdict_cache::hash_of(std::string_view key, key_space space) const {
    constexpr std::uint64_t k0 = 0xa0761d6478bd642f, k1 = 0xe7037ed1a0b428db, k2 = 0x8ebc6af09c88c6e3,
                            k3 = 0x589965cc75374cc3;
    // Secret, or a key that spells a public constant would multiply by zero and forget the seed.
    std::uint64_t const s1 = seed_ ^ k1, s2 = seed_ ^ k2, s3 = seed_ ^ k3;
    char const* p = key.data();
    std::size_t left = key.size();
    std::uint64_t h = seed_ ^ k0 ^ static_cast<std::uint64_t>(space);
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    if (left >= 16) {
        if (left > 48) {
            std::uint64_t h1 = h;
            std::uint64_t h2 = h;
            for (; left > 48; left -= 48, p += 48) {
                h = mix(load8(p) ^ s1, load8(p + 8) ^ h);
                h1 = mix(load8(p + 16) ^ s2, load8(p + 24) ^ h1);
                h2 = mix(load8(p + 32) ^ s3, load8(p + 40) ^ h2);
            }
            h ^= h1 ^ h2;
        }
        for (; left > 16; left -= 16, p += 16) h = mix(load8(p) ^ s1, load8(p + 8) ^ h);
        a = load8(p + left - 16);
        b = load8(p + left - 8);
    } else if (left >= 8) {
        a = load8(p);
        b = load8(p + left - 8);
    } else {
        for (std::size_t i = 0; i < left; ++i) a = a << 8 | static_cast<unsigned char>(p[i]);
    }
    return mix(s2 ^ key.size(), mix(a ^ s1, b ^ h));
}

verdict_cache::entry* verdict_cache::lookup(std::string_view key, key_space space, std::uint64_t hash) {
    std::size_t const sets = slots_.size() / ways;
    entry* const set = &slots_[(hash & (sets - 1)) * ways];
    for (entry* e = set; e != set + ways; ++e) {
        if (e->hash == hash && e->value && e->space == space && e->key_bytes == key.size() &&
            std::memcmp(e->key.get(), key.data(), key.size()) == 0)
            return e;
    }
    return nullptr;
}

verdict_cache::verdict const* verdict_cache::find(std::string_view key, key_space space, std::uint64_t hash) {
    entry* const e = lookup(key, space, hash);
    if (!e) return nullptr;
    e->used = true;
    return &e->value;
}

bool verdict_cache::seen_before(std::uint64_t hash) {
    std::uint32_t& place = seen_[hash & (seen_.size() - 1)];
    auto const mark = static_cast<std::uint32_t>(hash >> 32);
    bool const seen = place == mark;
    place = mark;
    return seen;
}

void verdict_cache::drop(entry& e) {
    bytes_ -= e.charge;
    --count_;
    e = entry{};
}

verdict_cache::verdict const* verdict_cache::put(std::string_view key, key_space space, verdict value) {
    std::size_t const charge = sizeof(entry) + key.size() + cost_of(*value);
    if (charge > max_bytes_) return nullptr;
    std::uint64_t const hash = hash_of(key, space);
    entry* slot = lookup(key, space, hash);
    if (!slot) {
        entry* const set = &slots_[(hash & (slots_.size() / ways - 1)) * ways];
        // A free way, else the first that was not used since its set was last searched, else the first.
        slot = std::find_if(set, set + ways, [](entry const& e) { return !e.value; });
        if (slot == set + ways) slot = std::find_if(set, set + ways, [](entry const& e) { return !e.used; });
        if (slot == set + ways) slot = set;
        for (entry* e = set; e != set + ways; ++e) e->used = false;
    }
    if (slot->value) drop(*slot);
    // The hand goes round at most twice: the first time it takes the marks off.
    while (bytes_ + charge > max_bytes_) {
        entry& e = slots_[hand_];
        hand_ = (hand_ + 1) % slots_.size();
        if (!e.value) continue;
        if (e.used)
            e.used = false;
        else
            drop(e);
    }
    slot->hash = hash;
    slot->key = std::make_unique_for_overwrite<char[]>(key.size());
    if (!key.empty()) std::memcpy(slot->key.get(), key.data(), key.size());
    slot->key_bytes = static_cast<std::uint32_t>(key.size());
    slot->charge = static_cast<std::uint32_t>(charge);
    slot->space = space;
    slot->value = std::move(value);
    bytes_ += charge;
    ++count_;
    return &slot->value;
}

}  // namespace lull::routing
