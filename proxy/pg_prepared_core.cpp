#include "proxy/pg_prepared_core.hpp"

#include <algorithm>

namespace lull {

namespace {

// The verdict cache may have forgotten and made again what is the same verdict.
bool same(routing::operation const& a, routing::operation const& b) {
    return &a == &b || a == b;
}

}  // namespace

prepared prepared_store::find(std::string_view text, std::string_view types, std::string_view context,
                              routing::operation const& operation) {
    key_.assign(1, 'P');
    key_ += types;
    key_ += '\0';  // OIDs come by four bytes, so types and text cannot be mistaken for each other
    key_ += static_cast<char>(types.size() / 4 & 0xff);
    key_ += text;
    key_ += '\0';  // a text ends there
    key_ += context;
    auto const at = known_.find(key_);
    if (at == known_.end()) return nullptr;
    prepared existing = at->second.lock();
    return existing && same(*existing->operation, operation) ? existing : nullptr;
}

prepared prepared_store::intern(std::string_view text, std::string_view types, std::string_view context,
                                std::shared_ptr<routing::operation const> const& operation) {
    if (prepared existing = find(text, types, context, *operation)) return existing;
    auto [entry, fresh] = known_.try_emplace(key_);
    if (fresh) key_bytes_ += key_.size();
    return keep(entry->second, {.text = std::string(text), .types = std::string(types), .operation = operation});
}

prepared prepared_store::intern_sql(std::string_view name, std::string_view sql, std::string_view context,
                                    std::shared_ptr<routing::operation const> operation) {
    key_.assign(1, 'S');
    key_ += sql;
    key_ += '\0';
    key_ += context;
    key_ += '\0';
    key_ += name;
    auto [entry, fresh] = known_.try_emplace(key_);
    if (fresh) key_bytes_ += key_.size();
    if (prepared existing = entry->second.lock(); existing && same(*existing->operation, *operation))
        return existing;
    return keep(entry->second, {.text = std::string(sql),
                                .server_name = std::string(name),
                                .operation = std::move(operation),
                                .by_sql = true});
}

prepared prepared_store::make_alone(std::string_view text, std::string_view types,
                                    std::shared_ptr<routing::operation const> operation) {
    return make({.text = std::string(text), .types = std::string(types), .operation = std::move(operation), .alone = true});
}

prepared prepared_store::make_alone_sql(std::string_view name, std::string_view sql,
                                        std::shared_ptr<routing::operation const> operation) {
    return make({.text = std::string(sql),
                 .server_name = std::string(name),
                 .operation = std::move(operation),
                 .alone = true,
                 .by_sql = true});
}

std::string context_within(prepared_text const& statement, std::string_view context) {
    std::string out(context);
    if (statement.alone) out.append("of statement ").append(std::to_string(statement.id));
    return out;
}

prepared prepared_store::make(prepared_text text) {
    text.id = next_id_++;
    if (text.server_name.empty()) text.server_name = prefix_ + std::to_string(text.id);
    return std::make_shared<prepared_text const>(std::move(text));
}

prepared prepared_store::keep(std::weak_ptr<prepared_text const>& entry, prepared_text text) {
    prepared made = make(std::move(text));
    entry = made;
    if (known_.size() > prune_at_ || key_bytes_ > prune_at_bytes_) {
        std::erase_if(known_, [](auto const& e) { return e.second.expired(); });
        prune_at_ = std::max<std::size_t>(1024, known_.size() * 2);
        key_bytes_ = 0;
        for (auto const& e : known_) key_bytes_ += e.first.size();
        prune_at_bytes_ = std::max(least_prune_bytes, key_bytes_ * 2);
    }
    return made;
}

void prepared_store::forget(std::vector<prepared> what) {
    std::ranges::sort(what);
    std::erase_if(known_, [&](auto const& e) { return e.second.expired() || std::ranges::binary_search(what, e.second.lock()); });
}

prepared server_prepared::named(std::string_view name) const {
    for (entry const& e : order_)
        if (e.what->by_sql && e.what->server_name == name) return e.what;
    return nullptr;
}

told_shape* server_prepared::use(std::uint64_t id) {
    auto const at = by_id_.find(id);
    if (at == by_id_.end()) return nullptr;
    order_.splice(order_.begin(), order_, at->second);
    return &at->second->told;
}

void server_prepared::add(prepared const& what) {
    if (by_id_.contains(what->id)) return;
    bytes_ += bytes_of(*what);
    order_.push_front({.what = what});
    by_id_[what->id] = order_.begin();
}

void server_prepared::add_all(server_prepared const& others) {
    for (entry const& e : others.order_) add(e.what);
}

void server_prepared::remove(std::uint64_t id) {
    if (auto at = by_id_.find(id); at != by_id_.end()) {
        bytes_ -= bytes_of(*at->second->what);
        order_.erase(at->second);
        by_id_.erase(at);
    }
}

void server_prepared::clear() {
    order_.clear();
    by_id_.clear();
    bytes_ = 0;
}

}  // namespace lull
