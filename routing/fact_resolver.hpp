// What a text alone says of a statement, together with what the catalog of its database says. Owned by a
// worker and used on its thread only; remembers, so that asking again costs one look-up.
#pragma once

#include "routing/catalog_facts.hpp"
#include "routing/operation.hpp"

#include <cstddef>
#include <memory>
#include <unordered_map>
#include <vector>

namespace lull::routing {

/// How far facts can be relied upon.
enum class standing : std::uint8_t {
    open,   // the site is read_write: at worst a read goes to a replica that cannot run it
    stale,  // the site is closed, and the catalog may have changed since the facts were read
    fresh,  // the site is closed, and was when they were read
};

class fact_resolver {
  public:
    /// `op` itself where nothing changes. The reference lives until the next call. Without facts (null) an
    /// open site goes by the text alone, and for a closed one whatever names a table is unknown.
    std::shared_ptr<operation const> const& resolve(std::shared_ptr<operation const> const& op,
                                                    std::shared_ptr<catalog_facts const> const& facts,
                                                    standing how);
    /// Forgets what it knows by other facts than these, which would stay alive with it.
    void keep_only(std::vector<catalog_facts const*> facts);
    std::size_t remembered() const { return known_.size(); }

  private:
    struct question {
        operation const* op;
        catalog_facts const* facts;
        standing how;
        friend bool operator==(question const&, question const&) = default;
    };
    struct hash {
        std::size_t operator()(question const& q) const {
            return (reinterpret_cast<std::size_t>(q.op) >> 4) * 0x9e3779b97f4a7c15 ^
                   reinterpret_cast<std::size_t>(q.facts) ^ static_cast<std::size_t>(q.how) << 60;
        }
    };
    struct answer {
        std::shared_ptr<operation const> asked;  // keeps the addresses in the question from being used again
        std::shared_ptr<catalog_facts const> facts;
        std::shared_ptr<operation const> resolved;
    };
    using answers = std::unordered_map<question, answer, hash>;
    answers known_;
    answers::value_type const* last_ = nullptr;  // in known_; null: none
    std::vector<catalog_facts const*> kept_;  // sorted; of the last keep_only()
};

}  // namespace lull::routing
