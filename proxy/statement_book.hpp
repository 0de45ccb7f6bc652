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
    using names = std::unordered_map<std::string, prepared>;
    using iterator = names::iterator;

    std::size_t size() const { return all_ ? all_->size() : 0; }
    bool contains(std::string const& name) const { return all_ && all_->contains(name); }
    /// Null: there is none of that name.
    prepared find(std::string const& name) const {
        if (!all_) return nullptr;
        auto const at = all_->find(name);
        return at == all_->end() ? nullptr : at->second;
    }
    prepared& operator[](std::string const& name) {
        if (!all_) all_ = std::make_unique<names>();
        return (*all_)[name];
    }
    /// What it was; null: there was none.
    prepared take(std::string const& name) {
        if (!all_) return nullptr;
        auto const at = all_->find(name);
        if (at == all_->end()) return nullptr;
        prepared was = std::move(at->second);
        all_->erase(at);
        if (all_->empty()) all_.reset();
        return was;
    }
    void clear() { all_.reset(); }
    template <class Each>
    void each(Each&& tell) const {
        if (!all_) return;
        for (auto const& [name, statement] : *all_) tell(name, statement);
    }

  private:
    std::unique_ptr<names> all_;  // never an empty one
};

}  // namespace lull
