#include "routing/fact_resolver.hpp"

#include <algorithm>

namespace lull::routing {
namespace {

// As many as the verdict cache has by default.
constexpr std::size_t most_remembered = 4096;

access access_of(reach r) {
    switch (r) {
        case reach::reads:
            return access::read;
        case reach::unknown:
            return access::unknown;
        case reach::denied:
            return access::write;
    }
    return access::unknown;
}

/// What one statement comes to.
struct finding {
    access strictest = access::read;
    routing::why why = why::understood;
    std::string_view function;
    leavings leaves;
    bool reads_sequences = false;

    void raise(access to, routing::why because, std::string_view which) {
        if (to <= strictest) return;
        strictest = to;
        why = because;
        function = which;
    }
};

bool may_hide_calls(name_use const& use) {
    return use.what == named::relation || use.unlisted;
}

finding look_up(statement const& s, operation const& op, catalog_facts const& facts) {
    finding found;
    for (name_use const& use : s.names) {
        catalog_facts::known const* known = facts.find(use.exact != 0 ? use.exact : use.bare);
        if (known) found.leaves.add(known->leaves);
        found.reads_sequences = found.reads_sequences || (known && known->reads_sequences);
        switch (use.what) {
            case named::function:
                if (!known && use.unlisted) found.raise(access::unknown, why::function, op.function);
                if (known) found.raise(access_of(known->means), why::function, known->function);
                break;
            case named::relation:
                if (!known) found.raise(access::unknown, why::catalog, {});
                if (known) found.raise(access_of(known->means), why::relation, known->function);
                break;
            case named::type:
            case named::op:
                if (!known && use.unlisted) found.raise(access::unknown, why::catalog, {});
                [[fallthrough]];
            case named::attribute:
                if (known) found.raise(access_of(known->means), why::relation, known->function);
                break;
        }
    }
    auto const may_convert = [&](name_use const& use) {
        return use.what == named::type && facts.find(use.exact != 0 ? use.exact : use.bare);
    };
    if (facts.nameless() && (std::ranges::any_of(s.names, may_hide_calls) || std::ranges::any_of(s.names, may_convert)))
        found.raise(access::unknown, why::relation, {});
    return found;
}

std::shared_ptr<operation const> with_facts(operation const& op, catalog_facts const* facts, standing how) {
    operation made = op;
    made.access = access::read;
    bool const by_text = std::ranges::any_of(
        op.statements, [](statement const& s) { return s.access >= access::unknown && !s.only_unlisted; });
    if (op.why == why::function && !by_text) {
        made.why = why::understood;
        made.function.clear();
    }
    bool hides = false;
    for (statement& s : made.statements) {
        hides = hides || !s.names.empty();
        if (!facts) s.beside = access::write;
        if (!s.names.empty()) {
            finding found;
            if (facts)
                found = look_up(s, op, *facts);
            else if (std::ranges::any_of(s.names, may_hide_calls))
                found.raise(access::unknown, s.only_unlisted ? why::function : why::catalog,
                            s.only_unlisted ? std::string_view(op.function) : std::string_view());
            made.about_server = made.about_server || found.reads_sequences;
            // To prepare it calls nothing.
            if (found.leaves && s.kind != statement_kind::prepare) {
                if (s.pins && !s.leaves) s.leaves.add(leaving::as_written);
                s.leaves.add(found.leaves);
                s.pins = true;
            }
            if (s.beside < access::write) s.beside = std::max(s.beside, found.strictest);
            access const alone = s.only_unlisted ? s.listed : s.access;
            s.access = std::max(alone, found.strictest);
            if (found.strictest > alone && found.strictest >= access::unknown) {
                if (made.why == why::understood || found.strictest == access::write) {
                    made.why = found.why;
                    made.function = found.function;
                }
                // As the server says it of nextval().
                if (found.strictest == access::write && !found.function.empty())
                    s.command = std::string(found.function) + "()";
            }
        }
        made.access = std::max(made.access, s.access);
    }
    // What was changed just before the site was closed is not in the facts yet, and any name may have got another meaning
    // by it, a built-in's too. Statements are judged by what
    // is known, and the transaction that keeps them from writing is made sure of first.
    if (how == standing::stale && hides) made.access = std::max(made.access, access::unknown);
    return made == op ? nullptr : std::make_shared<operation const>(std::move(made));
}

}  // namespace

std::shared_ptr<operation const> const& fact_resolver::resolve(
    std::shared_ptr<operation const> const& op, std::shared_ptr<catalog_facts const> const& facts,
    standing how) {
    if ((!op->has_names && !op->has_targets) || (!facts && how == standing::open)) return op;
    question const q{op.get(), facts.get(), how};
    // A unit asks for each of its messages.
    if (last_ && last_->first == q) return last_->second.resolved;
    auto at = known_.find(q);
    if (at == known_.end()) {
        if (known_.size() >= most_remembered) known_.clear();
        std::shared_ptr<operation const> resolved = with_facts(*op, facts.get(), how);
        at = known_.emplace(q, answer{op, facts, resolved ? std::move(resolved) : op}).first;
    }
    last_ = &*at;
    return last_->second.resolved;
}

void fact_resolver::keep_only(std::vector<catalog_facts const*> now) {
    std::ranges::sort(now);
    if (now == kept_) return;
    last_ = nullptr;
    std::erase_if(known_, [&](auto const& entry) {
        return entry.first.facts && !std::ranges::binary_search(now, entry.first.facts);
    });
    kept_ = std::move(now);
}

}  // namespace lull::routing
