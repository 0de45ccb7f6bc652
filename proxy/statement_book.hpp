// The statements that a client has prepared, by name. Most clients at one time have none: then it is a null pointer.
#pragma once

#include "proxy/pg_prepared_core.hpp"

#include <cstddef>
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
    /// Null: there is none of that name.
    prepared find(std::string const& name) const {
        if (!all_) return nullptr;
        auto const at = all_->by_name.find(name);
        return at == all_->by_name.end() ? nullptr : at->second;
    }
    /// What it was; null: there was none. What has been told of it is forgotten: it is another one that is parsed.
    prepared put(std::string const& name, prepared what) {
        if (!all_) all_ = std::make_unique<content>();
        prepared& entry = all_->by_name[name];
        all_->bytes += bytes_of(name, *what);
        told_entry& told = all_->told[what->id];
        ++told.names;
        told.shape = {};
        if (entry) forget(name, *entry);
        return std::exchange(entry, std::move(what));
    }
    /// The same.
    prepared take(std::string const& name) {
        if (!all_) return nullptr;
        auto const at = all_->by_name.find(name);
        if (at == all_->by_name.end()) return nullptr;
        prepared was = std::move(at->second);
        forget(name, *was);
        all_->by_name.erase(at);
        if (all_->by_name.empty()) all_.reset();
        return was;
    }
    /// What the client has been told of a statement that it has a name for. Null: it has none.
    told_shape* told(std::uint64_t id) {
        if (!all_) return nullptr;
        auto const at = all_->told.find(id);
        return at == all_->told.end() ? nullptr : &at->second.shape;
    }
    void clear() { all_.reset(); }
    template <class Each>
    void each(Each&& tell) const {
        if (!all_) return;
        for (auto const& [name, statement] : all_->by_name) tell(name, statement);
    }

    static std::size_t bytes_of(std::string const& name, prepared_text const& what) {
        return name.size() + lull::bytes_of(what);
    }

  private:
    struct told_entry {
        std::size_t names = 0;
        told_shape shape = {};
    };
    struct content {
        std::unordered_map<std::string, prepared> by_name;  // none of them null
        std::unordered_map<std::uint64_t, told_entry> told;  // of those
        std::size_t bytes = 0;
    };
    void forget(std::string const& name, prepared_text const& was) {
        all_->bytes -= bytes_of(name, was);
        auto const told = all_->told.find(was.id);
        if (--told->second.names == 0) all_->told.erase(told);
    }

    std::unique_ptr<content> all_;  // never an empty one
};

}  // namespace lull
