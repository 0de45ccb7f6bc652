// COPY of the client's (manual, "COPY Operations"): when it begins, and the messages that it is made of.
#include "protocol/pg/frame.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

/// In copy-in mode PostgreSQL ignores Sync (manual, "COPY Operations"): one that was sent along with Execute
/// will not be answered, and the segment is open until the client's next.
void pg_session_core::begin_copy() {
    owed_queue& owed = server_->owed;
    bool ended = false;
    owed_kind const what = owed.empty() ? owed_kind::local : owed.front().kind;
    if (what == owed_kind::query || what == owed_kind::execute) {
        for (std::size_t i = 0; i < owed.size() && !ended; ++i) {
            owed_kind const kind = owed.at(i).kind;
            ended = owed.at(i).copy_ended || (i > 0 && kind != owed_kind::sync && kind != owed_kind::local);
        }
        bool const dropped = owed.drop_syncs_of_copy() > 0;
        if (dropped && !ended && what == owed_kind::execute) segment_open_ = true;
    }
    server_->copy_in = !ended;
}

/// Outside COPY FROM STDIN PostgreSQL ignores these, so they go nowhere.
std::size_t pg_session_core::copy_data(pg::bytes in, pg::frame_header header, session_step& step) {
    std::size_t const size = pg::header_bytes + header.body_bytes;
    patience_.note_progress();
    if (!server_ || server_->owed.empty()) return drop(in, size);
    bool const data = header.type == pg::frontend::copy_data;
    static constexpr pg::type_set copied{pg::frontend::copy_data};
    std::size_t const run = data ? pg::run_of(in, copied) : 0;
    std::size_t const here = run > 0 ? run : std::min(in.size(), size);
    step.server.view(in.first(here));
    client_body_left_ = run > 0 ? 0 : size - here;
    client_body_dropped_ = false;
    if (!data) {
        server_->owed.at(server_->owed.size() - 1).copy_ended = true;
        server_->copy_in = false;
    }
    return here;
}

}  // namespace lull
