// What servers say, matched with what they owe. Most of it is passed on by the header alone: runs of messages
// that nobody has to look into leave as one view of the block they came in.
#include "protocol/pg/backend.hpp"
#include "proxy/pg_refusal_core.hpp"
#include "proxy/pg_session_core.hpp"

#include <algorithm>

namespace lull {

namespace {

/// Longer ones are passed on unread; the longest honest one, a ParameterDescription of 65,535, has 256 KiB.
constexpr std::size_t longest_inspected = 320 * 1024;

/// PostgreSQL reports about fifteen.
constexpr std::size_t most_parameters = 256;

bool must_be_read(char type) {
    switch (type) {
        case pg::backend::command_complete:
        case pg::backend::error_response:
        case pg::backend::notice_response:
        case pg::backend::notification_response:
        case pg::backend::parameter_description:
        case pg::backend::parameter_status:
        case pg::backend::row_description:
        case pg::backend::ready_for_query:
            return true;
        default:
            return false;
    }
}

// What nobody looks into; of a Query the description of its rows, too, is nothing but the client's.
constexpr pg::type_set rows{pg::backend::data_row, pg::backend::copy_data};
constexpr pg::type_set of_query{pg::backend::data_row, pg::backend::copy_data, pg::backend::row_description};
constexpr pg::type_set of_plain{pg::backend::data_row,      pg::backend::row_description, pg::backend::command_complete,
                                pg::backend::bind_complete, pg::backend::parse_complete,  pg::backend::no_data,
                                pg::backend::portal_suspended};

}  // namespace

std::size_t pg_session_core::on_server(pg::bytes in, session_step& step) {
    bool const nobody_listens = client_gone_;
    std::size_t const used = replies(in, step);
    // Its last message to that client may have ended in the middle.
    if (nobody_listens) step.client.clear();
    return used;
}

std::size_t pg_session_core::replies(pg::bytes in, session_step& step) {
    std::size_t at = 0;
    std::size_t run = 0;  // what stands from here to `at` goes to the client as it is
    auto send_run = [&] {
        if (at > run && !client_gone_) step.client.view(in.subspan(run, at - run));
        run = at;
    };  // asked for behind a look whether there is one, where each message comes by
    while (server_ && at < in.size()) {
        if (server_->body_left > 0) {
            std::size_t const n = std::min(server_->body_left, in.size() - at);
            bool const swallowed = server_->body_swallowed;
            if (swallowed) send_run();
            at += n;
            server_->body_left -= n;
            if (swallowed) run = at;
            continue;
        }
        // The common case by far, and no state hangs on it.
        if (!server_->owed.empty() && !server_->owed.front().ours) {
            at += pass_run(in.subspan(at));
            if (at == in.size()) break;
        }
        if (in.size() - at < pg::header_bytes) break;
        auto const header = pg::parse_header(in.subspan(at).first<pg::header_bytes>());
        if (!header || !pg::is_backend_type(header->type)) {
            send_run();
            step.discard = true;
            on_server_lost("the server sent what is not the PostgreSQL protocol", step);
            return in.size();
        }
        std::size_t const size = pg::header_bytes + header->body_bytes;
        std::size_t const here = std::min(size, in.size() - at);
        if (here < size && must_be_read(header->type) && size <= longest_inspected) break;
        pg::bytes const whole = in.subspan(at, here);
        if (header->type == pg::backend::ready_for_query && here == size) {
            if (at > run) send_run();
            auto const status = pg::parse_ready_for_query(whole.subspan(pg::header_bytes));
            if (!status || !reply_ready(*status, whole, step)) {
                step.discard = true;
                on_server_lost("the server sent a ReadyForQuery that nobody asked for", step);
            }
            if (!server_) return in.size();
            run = at += here;
            continue;
        }
        bool const cut = here < size && must_be_read(header->type);
        if (cut && header->type == pg::backend::error_response) {
            // Too long to be looked into, but an error all the same. Its beginning goes out with what it means.
            send_run();
            bool const replaced =
                server_->owed.empty() || server_->owed.front().ours || !server_->owed.front().text.empty();
            (void)reply(header->type, whole.subspan(pg::header_bytes), whole, step);
            if (!server_) return in.size();
            run = at += here;
            server_->body_left = size - here;
            server_->body_swallowed = replaced || server_->ending || client_gone_;
            continue;
        }
        if (!server_->owed.empty() && server_->owed.front().elsewhere && !server_->owed.front().ours) {
            send_run();
            if (here < size) {
                server_->owed.front().elsewhere = false;
                tell_described(step);
            } else if (keeps_answer(header->type, whole, step)) {
                run = at += here;
                continue;
            }
        }
        bool const pass = cut ? true : [&] {
            bool const ours = server_->owed.empty() || server_->owed.front().ours;
            if (header->type == pg::backend::data_row || header->type == pg::backend::copy_data) return !ours;
            if (at > run) send_run();
            return reply(header->type, whole.subspan(pg::header_bytes), whole, step);
        }();
        if (!server_) return in.size();
        if (!pass) {
            if (at > run) send_run();
            run = at + here;
        }
        server_->body_left = size - here;
        server_->body_swallowed = !pass;
        at += here;
    }
    send_run();
    after_event(step);
    return at;
}

/// How many bytes of what answers the oldest debt, which is the client's, go on unseen.
std::size_t pg_session_core::pass_run(pg::bytes in) {
    owed_reply& front = server_->owed.front();
    if (front.elsewhere) return 0;  // keeps_answer()
    if (!front.plain) return pg::run_of(in, front.kind == owed_kind::query ? of_query : rows);
    std::size_t const run = pg::run_of(in, of_plain);
    if (run == 0 || front.kind == owed_kind::query) return run;
    front.again = false;
    if (front.unparsed && static_cast<char>(in.front()) == pg::backend::parse_complete) {
        front.unparsed = false;
        front.before = nullptr;
    }
    return run;
}

/// True: the message goes to the client as it is.
bool pg_session_core::reply(char type, pg::bytes body, pg::bytes whole, session_step& step) {
    owed_queue& owed = server_->owed;
    bool const ours = owed.empty() || owed.front().ours;
    auto const kind = owed.empty() ? owed_kind::local : owed.front().kind;
    switch (type) {
        case pg::backend::parse_complete:
        case pg::backend::bind_complete:
        case pg::backend::close_complete:
            if (!owed.empty() && kind != owed_kind::query && kind != owed_kind::segment) {
                if (!ours) step.client.view(whole);
                pop_owed(step);
            }
            return false;
        case pg::backend::row_description:
        case pg::backend::no_data:
            if (kind != owed_kind::describe) return !ours;
            note_shape(type, body);
            tell_described(step);
            if (!ours) step.client.view(whole);
            pop_owed(step);
            return false;
        case pg::backend::parameter_description:
            if (kind != owed_kind::describe) return !ours;
            note_shape(type, body);
            if (!owed.front().again) return !ours;
            server_->described = pg::as_text(whole);
            return false;
        case pg::backend::empty_query_response:
        case pg::backend::portal_suspended:
            if (kind != owed_kind::execute) return !ours;
            if (!ours) step.client.view(whole);
            settle_front(false);
            pop_owed(step);
            return false;
        case pg::backend::command_complete:
            reply_complete(body, whole, step);
            return false;
        case pg::backend::error_response:
            reply_error(body, whole, step);
            return false;
        case pg::backend::parameter_status:
            reply_parameter(body, step);
            return false;
        case pg::backend::notice_response:
            if (!ours) owed.front().again = false;  // not to be told twice
            return !ours;
        case pg::backend::copy_in_response:
        case pg::backend::copy_both_response:
            begin_copy();
            // What waits for the end of all that is under way would wait for ever: it is no CopyData, and ends this.
            if (server_->copy_in && blocked_ == blocked::barrier) {
                blocked_ = blocked::no;
                step.retry_input = true;
            }
            return !ours;
        case pg::backend::notification_response:
            return hears(body);
        default:
            return !ours;
    }
}

/// Of the oldest debt: what it was to do for settings and statements has happened, or not.
void pg_session_core::settle_front(bool failed) {
    owed_reply& front = server_->owed.front();
    std::uint16_t count = std::exchange(front.settings_count, std::uint16_t{0});
    for (auto p = pending_.begin(); count > 0 && p != pending_.end();) {
        if (p->confirmed) {
            ++p;
            continue;
        }
        --count;
        if (failed) {
            // DEALLOCATE is no part of a transaction: it may have happened before the text failed.
            if (p->kind == pending_setting::what::deallocate_all) server_->tainted = true;
            p = pending_.erase(p);
            continue;
        }
        p->confirmed = true;
        if (p->kind == pending_setting::what::deallocate_all) forget_statements();
        ++p;
    }
    if (!failed) return;
    if (front.forgets_values) server_->values_of = values_of_several;
    if (front.parsed && front.kind == owed_kind::close)
        server_->statements.add(front.parsed);
    else if (front.parsed)
        server_->statements.remove(front.parsed->id);
    if (!front.name.empty() && front.kind == owed_kind::query) restore_name(front, 1);
    if (front.unparsed || (front.kind == owed_kind::parse && !front.parsed)) server_->unnamed = nullptr;
}

/// One of the statements of a text has been done.
void pg_session_core::settle_statement(std::string_view tag) {
    owed_reply& front = server_->owed.front();
    for (pending_setting& p : pending_) {
        if (p.confirmed) continue;
        p.confirmed = true;
        --front.settings_count;
        if (p.kind == pending_setting::what::deallocate_all) forget_statements();
        if (!p.last) continue;
        if (p.kind != pending_setting::what::end) return;
        // What comes behind it is another transaction.
        bool const chain = p.chain;
        if (tag != "ROLLBACK") apply_settings(true);
        std::erase_if(pending_, [](pending_setting const& done) { return done.confirmed; });
        block_seen_ = chain;
        error_seen_ = false;
        last_transaction_tag_ = 0;
        return;
    }
}

void pg_session_core::pop_owed(session_step& step) {
    server_->owed.pop();
    answer_local(step);
}

/// Replies of our own whose turn has come.
void pg_session_core::answer_locals(session_step& step) {
    while (!server_->owed.empty() && server_->owed.front().kind == owed_kind::local) {
        if (!client_gone_) step.client.text(server_->owed.front().text);
        server_->owed.pop();
    }
}

void pg_session_core::reply_complete(pg::bytes body, pg::bytes whole, session_step& step) {
    owed_queue& owed = server_->owed;
    if (owed.empty()) return;
    owed_reply& front = owed.front();
    auto const tag = pg::parse_command_complete(body);
    if (front.asks_pins && tag) return answer_pins(front, *tag);
    if (front.asks_values && tag)
        return sequences_.prove(*tag == "SELECT 0" ? client_sequences::proof::not_own : client_sequences::proof::own);
    if (!front.ours && tag) {
        if (*tag == "COMMIT" || *tag == "PREPARE TRANSACTION") last_transaction_tag_ = 'C';
        if (*tag == "ROLLBACK") last_transaction_tag_ = front.retag ? 'C' : 'R';
        if (is_begin_tag(*tag)) block_seen_ = true;
        if (front.apart) {
            settle_statement(*tag);
        } else if (*tag == "COMMIT" && !front.retag && !block_guarded_) {
            apply_settings(true);  // here, for AND CHAIN goes on in the next transaction
            std::erase_if(pending_, [](pending_setting const& p) { return p.confirmed; });
        }
        if (*tag == "ROLLBACK" && front.ends_alone) {  // ROLLBACK TO SAVEPOINT has the same tag
            if (front.retag) apply_settings(false);
            std::erase_if(pending_, [](pending_setting const& p) { return p.confirmed; });
        }
    }
    bool const done_at_once = front.kind == owed_kind::execute && !front.ours && tag == "DISCARD ALL";
    if (front.kind == owed_kind::execute && !front.ours) {
        settle_front(false);
        if (front.ends_alone) end_portals();
    }
    if (!front.ours && !client_gone_) {
        if (front.retag)
            step.client.write([&](std::string& out) { pg::write_command_complete(out, front.retag); });
        else
            step.client.view(whole);
    }
    if (front.kind == owed_kind::execute) pop_owed(step);
    if (!done_at_once) return;
    // The server commits it here: what fails behind it in its segment does not undo it.
    apply_settings(true);
    std::erase_if(pending_, [](pending_setting const& p) { return p.confirmed; });
}

/// False: nobody had asked.
bool pg_session_core::reply_ready(char status, pg::bytes whole, session_step& step) {
    owed_queue& owed = server_->owed;
    if (owed.empty()) return false;
    owed_reply& front = owed.front();
    if (!ends_ready(front.kind)) return false;
    char const before = std::exchange(server_->status, status);
    server_->copy_in = false;
    bool const wrapped = front.idle_after;
    if (front.ours) {
        bool const settings = front.settings;
        bool const failed = front.failed;
        bool const opens = front.opens;
        bool const asks_pins = front.asks_pins;
        std::uint8_t const gone = front.pins_gone;
        bool const again = front.again;
        if (again && status != 'I') return false;
        bool const proves = front.proves;
        std::string refused = opens ? std::exchange(front.text, {}) : std::string();
        bool const aborted = front.ends_alone && before != 'I' && status == 'I';
        pop_owed(step);
        if (again) {
            finish_transaction(false);
            step.retry_input = !client_gone_ && !closing_;
            if (step.retry_input) step.give_back = pg::as_bytes(server_->unit);
            if (step.retry_input && std::exchange(cancel_due_, false)) fail_next_ = canceled_error();
        } else if (asks_pins) {
            settle_pins(failed, gone);
        } else if (settings) {
            blocked_ = blocked::no;
            if (failed) {
                // Its settings are half made: not for anybody.
                std::string error = fail_next_.take();
                step.discard = true;
                unlink();
                on_no_server(std::move(error), step);
                return true;
            }
            tell_reported(step);
            if (!started_) welcome(remember_welcome(), step);
            step.retry_input = true;
        } else if (opens) {
            blocked_ = blocked::no;
            step.retry_input = true;
            if (!refused.empty()) {
                (proves ? wrote_nothing_ : temporary_checked_) = !failed;
                if (failed) fail_next_ = std::move(refused);
            }
            if (!failed || !wrap_open_) return true;
            send_own_query("ROLLBACK", step);
            wrap_open_ = false;
        } else if (aborted) {
            finish_transaction(false);  // the client's block has been rolled back
        }
        return true;
    }
    if (front.kind == owed_kind::query && front.settings_count > 0) settle_front(false);
    bool const aside = front.aside && deferred_;
    if (front.aside) aside_under_way_ = false;
    char const told = aside ? (error_seen_ ? 'E' : 'T') : wrapped ? 'I' : front.block_after ? 'T' : status;
    if (aside && error_seen_) fail_deferred();
    client_status_ = told;
    if (!client_gone_) told == status ? ready(whole, step) : ready(step);
    if (status != 'I') block_seen_ = block_seen_ || (!wrapped && !aside);
    bool const chained = front.block_after;
    // COMMIT AND CHAIN: the next transaction has not written yet, and has to begin that anew.
    bool const of_segment = front.kind == owed_kind::sync && front.ends;
    bool const wrote_behind = of_segment && front.writes;
    bool const chains = (front.ends_alone || of_segment) && status == 'T' && !chained;
    pop_owed(step);
    if (told == 'I' || status == 'I' || aside || chains) finish_transaction(wrapped);
    if (chains) block_seen_ = true;
    if (chains && wrote_behind) may_write_ = true;
    if (chained) block_guarded_ = block_seen_ = true;
    if (status != 'I' && told != 'I') note_block();
    return true;
}

void pg_session_core::reply_parameter(pg::bytes body, session_step& step) {
    auto const parameter = pg::parse_parameter_status(body);
    if (!parameter) return;
    // What these two mean to a client is the mode of its site, not which server it happens to read from.
    if (parameter->name == "in_hot_standby" || parameter->name == "default_transaction_read_only") return;
    if (server_->reported->size() >= most_parameters && !find_setting(server_->reported, parameter->name))
        return;
    server_->reported = context_.settings.with(server_->reported, parameter->name, parameter->value);
    bool const syncing =
        !server_->owed.empty() && server_->owed.front().ours && server_->owed.front().settings;
    if (started_ && !client_gone_ && !syncing) tell_reported(step);
}

}  // namespace lull
