#include "proxy/pg_portal_table_core.hpp"

#include <algorithm>
#include <utility>

namespace lull {

bool is_certain_name(std::string_view name) {
    return std::ranges::none_of(known_name(name), [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

bound_portal const* portal_table::find(std::string_view name) const {
    if (name.empty()) return unnamed_.statement ? &unnamed_ : nullptr;
    if (!named_) return nullptr;
    auto const at = named_->find(name);
    return at == named_->end() ? nullptr : &at->second;
}

std::unique_ptr<portal_change> portal_table::bind(std::string_view name, bound_portal what) {
    if (name.empty()) {
        unnamed_ = std::move(what);
        return nullptr;
    }
    auto change = std::make_unique<portal_change>(portal_change{std::string(name), {}});
    change->before = std::exchange(named()[change->name], std::move(what));
    return change;
}

std::unique_ptr<portal_change> portal_table::close(std::string_view name) {
    if (name.empty()) {
        drop_unnamed();
        return nullptr;
    }
    if (!named_) return nullptr;
    auto const at = named_->find(name);
    if (at == named_->end()) return nullptr;
    auto change = std::make_unique<portal_change>(portal_change{at->first, std::move(at->second)});
    named_->erase(at);
    return change;
}

void portal_table::undo(portal_change change) {
    if (change.before.statement)
        named()[change.name] = std::move(change.before);
    else if (named_)
        named_->erase(change.name);
}

}  // namespace lull
