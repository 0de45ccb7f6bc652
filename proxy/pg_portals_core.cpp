// What becomes of portals where a server fails or skips what the client sent, and where a transaction ends.
#include "proxy/pg_session_core.hpp"

#include <algorithm>
#include <utility>

namespace lull {

namespace {

bool binds_unnamed(owed_reply const& owed) {
    return owed.kind == owed_kind::segment || (owed.kind == owed_kind::bind && !owed.ours && !owed.portal);
}

}  // namespace

/// The debts before `end`, up to the Sync of the one that has failed, have not happened.
void pg_session_core::undo_portals(std::size_t end) {
    owed_queue& owed = server_->owed;
    for (std::size_t i = end; i-- > 0;) {
        bool const unnamed = binds_unnamed(owed.at(i));
        std::unique_ptr<portal_change> const change = std::move(owed.at(i).portal);
        if (!unnamed && !change) continue;
        // Behind the Sync the client may have bound it again.
        std::size_t later = end;
        while (later < owed.size() && !(unnamed ? binds_unnamed(owed.at(later))
                                                : owed.at(later).portal && owed.at(later).portal->name == change->name))
            ++later;
        if (unnamed && later == owed.size())
            portals_.drop_unnamed();
        else if (change && later < owed.size())
            owed.at(later).portal->before = std::move(change->before);
        else if (change)
            portals_.undo(std::move(*change));
    }
}

/// The transaction is over, and its portals with it. Those that were bound behind its end are under way.
void pg_session_core::end_portals() {
    owed_queue& owed = server_->owed;
    if (owed.empty()) return portals_.clear();
    portal_table under_way;
    for (std::size_t i = 0; i < owed.size(); ++i) {
        bool const unnamed = binds_unnamed(owed.at(i));
        portal_change* const change = owed.at(i).portal.get();
        if (!unnamed && !change) continue;
        std::string_view const name = unnamed ? std::string_view{} : change->name;
        if (change && !under_way.find(name)) change->before = {};
        if (bound_portal const* is = portals_.find(name)) (void)under_way.bind(name, *is);
    }
    portals_ = std::move(under_way);
}

}  // namespace lull
