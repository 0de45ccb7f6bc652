// The statements that a client has prepared, by name. Most clients at one time have none: then it is a null pointer.
#pragma once

#include "proxy/pg_prepared_core.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace lull {

class statement_book {
  public:
    std::size_t size() const { return all_ ? all_->by_name.size() : 0; }
    /// Of their texts and names.
    std::size_t bytes() const { return all_ ? all_->bytes : 0; }
    bool contains(std::string const& name) const { return all_ && all_->by_name.contains(name); }
    struct named {
        prepared what;              // not null
        std::uint32_t meaning = 0;  // of the name: no other of any name, or none, has that number (among 2^32), none 0
    };
    /// Until the next change. Null: there is none of that name.
    named const* at(std::string const& name) const {
        if (!all_) return nullptr;
        auto const found = all_->by_name.find(name);
        return found == all_->by_name.end() ? nullptr : &found->second;
    }
    prepared find(std::string const& name) const {
        named const* const known = at(name);
        return known ? known->what : nullptr;
    }
    /// What it was; null: there was none.
    prepared put(std::string const& name, prepared what) {
        if (!all_) all_ = std::make_unique<content>();
        named& entry = all_->by_name[name];
        all_->bytes += bytes_of(name, *what);
        if (entry.what) forget(name, entry);
        entry.meaning = next_meaning();
        all_->told[entry.meaning];
        return std::exchange(entry.what, std::move(what));
    }
    /// The same.
    prepared take(std::string const& name) {
        if (!all_) return nullptr;
        auto const at = all_->by_name.find(name);
        if (at == all_->by_name.end()) return nullptr;
        forget(name, at->second);
        prepared was = std::move(at->second.what);
        all_->by_name.erase(at);
        drop_empty();
        return was;
    }
    /// The meaning of the unnamed statement, from its first Describe on until the next Parse. 0: nothing was told of it.
    std::uint32_t unnamed() const { return all_ ? all_->unnamed : 0; }
    std::uint32_t describe_unnamed() {
        if (!all_) all_ = std::make_unique<content>();
        if (all_->unnamed == 0) {
            all_->unnamed = next_meaning();
            all_->told[all_->unnamed];
        }
        return all_->unnamed;
    }
    void parse_unnamed() {
        if (!all_ || all_->unnamed == 0) return;
        all_->told.erase(std::exchange(all_->unnamed, 0));
        drop_empty();
    }
    /// What the client has been told of what has that meaning. Null: nothing has it any more.
    told_shape* told(std::uint32_t meaning) {
        if (!all_) return nullptr;
        auto const at = all_->told.find(meaning);
        return at == all_->told.end() ? nullptr : &at->second;
    }
    void clear() { all_.reset(); }
    template <class Each>
    void each(Each&& tell) const {
        if (!all_) return;
        for (auto const& [name, entry] : all_->by_name) tell(name, entry.what);
    }

    static std::size_t bytes_of(std::string const& name, prepared_text const& what) {
        return name.size() + lull::bytes_of(what);
    }

  private:
    struct content {
        std::unordered_map<std::string, named> by_name;
        std::unordered_map<std::uint32_t, told_shape> told;  // of each of them, and of the unnamed one
        std::uint32_t unnamed = 0;
        std::size_t bytes = 0;
    };
    /// Of all books of the worker: a counter for each would make each client larger.
    static std::uint32_t next_meaning() {
        static thread_local std::uint32_t last = 0;
        return ++last != 0 ? last : ++last;
    }
    void drop_empty() {
        if (all_->told.empty()) all_.reset();
    }
    void forget(std::string const& name, named const& was) {
        all_->bytes -= bytes_of(name, *was.what);
        all_->told.erase(was.meaning);
    }

    std::unique_ptr<content> all_;  // never an empty one
};

}  // namespace lull
