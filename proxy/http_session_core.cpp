#include "proxy/http_session_core.hpp"

#include <algorithm>
#include <utility>

namespace lull {

http_session_core::http_session_core(http_env& env, std::string peer_address, std::uint16_t local_port)
    : env_(env),
      peer_address_(std::move(peer_address)),
      local_port_(local_port),
      client_in_(env.blocks),
      to_client_(env.blocks),
      upstream_in_(env.blocks),
      to_upstream_(env.blocks),
      request_head_(env.blocks),
      stamp_(env.now) {}

http_session_core::~http_session_core() {
    end_exchange();
}

http_actions http_session_core::take_actions() {
    return std::exchange(actions_, {});
}

/// What the operator is told of a request that has begun to write.
http_session_core::writing http_session_core::writes() const {
    return {exchange_.counted_write, exchange_.site, peer_address_, exchange_.what, exchange_.since};
}

/// The drain deadline has passed. Whether the application has done what was asked is not known.
void http_session_core::end_writing(routing::site_id site) {
    if (!exchange_.counted_write || exchange_.site != site) return;
    if (exchange_.response_head_sent) {
        abort_response();
    } else {
        end_exchange();
        exchange_.keep_alive = false;
        answer_problem(503, "maintenance_deadline", "Ended for maintenance",
                       "the request was still under way when the maintenance had waited long enough for it; "
                       "it may or may not have been carried out");
    }
    advance();
}

// --- the client ---

std::span<char> http_session_core::client_space() {
    if (phase_ == phase::closed || client_ended_) return {};
    return client_in_.space(std::max(http_block_bytes, env_.head_limits.head_bytes));
}

void http_session_core::client_received(std::size_t n) {
    bool const first = client_in_.empty();
    client_in_.commit(n);
    if (n == 0) return;
    if (phase_ == phase::closing) {
        // An upload that was refused goes on for a while: reset in its middle, the refusal would be lost.
        if (env_.now - closing_since_ < env_.timeouts.longest_linger) touch();
        client_in_.clear();
        return;
    }
    // The time for a head runs from its first byte: sending it slowly must not prolong it.
    if (phase_ != phase::head || first) touch();
    advance();
}

void http_session_core::client_ended() {
    client_ended_ = true;
    half_closed_since_ = env_.now;
    advance();
}

void http_session_core::client_lost() {
    if (phase_ == phase::closed) return;
    end_exchange();
    to_client_.clear();
    client_in_.clear();
    actions_.close_client = true;
    phase_ = phase::closed;
}

void http_session_core::client_sent(std::size_t n) {
    to_client_.consume(n);
    if (n > 0) touch();
    advance();
}

void http_session_core::close_when_idle() {
    leave_when_idle_ = true;
    advance();
}

// --- the upstream ---

std::span<char> http_session_core::upstream_space() {
    if (exchange_.upstream != link::connected || exchange_.upstream_ended) return {};
    std::size_t const limit = exchange_.response_head_done
                                  ? http_block_bytes
                                  : std::max(http_block_bytes, env_.response_limits.head_bytes);
    return upstream_in_.space(limit);
}

void http_session_core::upstream_received(std::size_t n) {
    upstream_in_.commit(n);
    if (n == 0) return;
    exchange_.response_begun = true;
    touch();
    advance();
}

void http_session_core::upstream_ended() {
    exchange_.upstream_ended = true;
    advance();
}

void http_session_core::upstream_lost() {
    exchange_.upstream_reset = true;
    upstream_ended();
}

void http_session_core::upstream_write_failed() {
    // It may have answered before it closed: what it said is still to be read, and tells us that it is gone.
    exchange_.upstream_deaf = true;
    to_upstream_.clear();
    if (phase_ == phase::tunnel) upstream_lost();
}

void http_session_core::upstream_connected(bool reused) {
    exchange_.upstream = link::connected;
    exchange_.reused = reused;
    ++(reused ? env_.stats.upstream_reuses : env_.stats.upstream_connects);
    touch();
    advance();
}

void http_session_core::upstream_failed(upstream_failure why) {
    exchange_.upstream = link::none;
    fail_upstream(why, why == upstream_failure::timed_out
                           ? "the application did not accept a connection in time"
                           : "the application does not accept connections");
    advance();
}

std::array<std::string_view, 2> http_session_core::upstream_output() const {
    if (exchange_.upstream != link::connected || exchange_.upstream_deaf) return {};
    return {request_head_.view().substr(request_head_sent_), to_upstream_.view()};
}

void http_session_core::upstream_sent(std::size_t n) {
    if (n == 0) return;
    std::size_t const of_head = std::min(n, request_head_.size() - request_head_sent_);
    request_head_sent_ += of_head;
    to_upstream_.consume(n - of_head);
    touch();
    advance();
}

// --- the exchange of requests and responses ---

void http_session_core::advance() {
    bool moved = true;
    while (moved) {
        switch (phase_) {
            case phase::head:
                moved = read_head();
                break;
            case phase::exchange:
                moved = pump_request();
                if (phase_ == phase::exchange) moved = pump_response() || moved;
                break;
            case phase::discarding:
                moved = discard_body();
                break;
            case phase::tunnel:
                moved = pump_tunnel();
                break;
            case phase::closing:
                moved = finish_closing();
                break;
            case phase::closed:
                return;
        }
    }
}

bool http_session_core::read_head() {
    // Answers to a pipeline that is not read must not pile up.
    if (to_client_.size() >= http_block_bytes) return false;
    std::string_view const in = client_in_.view();
    if (in.empty() || (in == "\r" && !empty_line_skipped_)) {
        if (!client_ended_ && !(leave_when_idle_ && in.empty())) return false;
        start_closing(false);
        return true;
    }
    // RFC 9112 section 2.2: one empty line before a request is forgiven.
    if (!empty_line_skipped_ && in.starts_with("\r\n")) {
        empty_line_skipped_ = true;
        client_in_.consume(2);
        return true;
    }
    auto const found = request_scanner_.scan(in, env_.head_limits);
    if (auto const* e = std::get_if<http::errc>(&found)) {
        exchange_ = {};
        answer_malformed(*e);
        return true;
    }
    auto const* size = std::get_if<std::size_t>(&found);
    if (!size) {
        if (!client_ended_) return false;
        start_closing(false);
        return true;
    }
    ++env_.stats.requests;
    start_request(in.substr(0, *size));
    client_in_.consume(*size);
    request_scanner_.reset();
    empty_line_skipped_ = false;
    if (phase_ == phase::closing) discard_rest_ = discard_rest_ || !client_in_.empty();
    return true;
}

bool http_session_core::discard_body() {
    http::body_step const step = request_body_.next(client_in_.view(), env_.body_limits);
    client_in_.consume(step.consumed);
    switch (step.what) {
        case http::body_step::kind::data:
        case http::body_step::kind::trailer:
            return true;
        case http::body_step::kind::end:
            phase_ = phase::head;
            touch();
            return true;
        case http::body_step::kind::need_more:
            if (!client_ended_) return false;
            start_closing(false);
            return true;
        case http::body_step::kind::error:
            start_closing(true);
            return true;
    }
    return false;
}

bool http_session_core::pump_tunnel() {
    bool moved = false;
    if (!client_in_.empty() && to_upstream_.empty()) {
        to_upstream_.take_all(client_in_);
        moved = true;
    }
    if (!upstream_in_.empty() && to_client_.empty()) {
        to_client_.take_all(upstream_in_);
        moved = true;
    }
    if (exchange_.upstream_reset && to_client_.empty()) {
        client_lost();
        actions_.reset_client = true;
        return false;
    }
    // Each direction ends by itself.
    if (client_ended_ && client_in_.empty() && to_upstream_.empty() && !upstream_finished_)
        actions_.finish_upstream = upstream_finished_ = true;
    if (exchange_.upstream_ended && upstream_in_.empty() && to_client_.empty() && !client_finished_)
        actions_.finish_client = client_finished_ = true;
    if (upstream_finished_ && client_finished_) {
        client_lost();
        return false;
    }
    return moved;
}

void http_session_core::end_exchange() {
    if (exchange_.counted_write) {
        --env_.writes_of(exchange_.site);
        exchange_.counted_write = false;
    }
    if (phase_ == phase::tunnel) --env_.stats.open_tunnels;
    drop_upstream();
}

void http_session_core::drop_upstream() {
    if (actions_.connect)
        actions_.connect = false;
    else if (exchange_.upstream != link::none)
        actions_.drop_upstream = true;
    exchange_.upstream = link::none;
    upstream_in_.clear();
    to_upstream_.clear();
    request_head_.clear();
    request_head_sent_ = 0;
    response_scanner_.reset();
}

void http_session_core::abort_response() {
    ++env_.stats.upstream_errors;
    end_exchange();
    // Where the end of the connection is the end of the body, an orderly end would lie.
    reset_at_end_ = exchange_.delimited_by_close;
    start_closing(false);
}

void http_session_core::start_closing(bool more_may_come) {
    discard_rest_ = more_may_come;
    phase_ = phase::closing;
    closing_since_ = env_.now;
}

bool http_session_core::finish_closing() {
    if (!to_client_.empty()) return false;
    client_in_.clear();
    if (discard_rest_ && !client_ended_ && !reset_at_end_) {
        // Closing now would reset the connection and could destroy the answer before the client has read it.
        if (client_finished_) return false;
        actions_.finish_client = client_finished_ = true;
        touch();
        return false;
    }
    (reset_at_end_ ? actions_.reset_client : actions_.close_client) = true;
    phase_ = phase::closed;
    return false;
}

// --- time ---

http_session_core::waiting http_session_core::waits_for() const {
    if (phase_ == phase::closed) return waiting::nobody;
    if (!to_client_.empty()) return waiting::client_reading;
    switch (phase_) {
        case phase::head:
            return client_in_.empty() ? waiting::next_request : waiting::head;
        case phase::discarding:
            return waiting::client_body;
        case phase::tunnel:
            return client_finished_ || upstream_finished_ ? waiting::half_closed : waiting::nobody;
        case phase::closing:
            return waiting::lingering;
        case phase::closed:
            return waiting::nobody;
        case phase::exchange:
            break;
    }
    if (exchange_.upstream == link::wanted) return waiting::connecting;
    bool const all_sent = to_upstream_.empty() && request_head_sent_ == request_head_.size();
    bool const client_owes = !exchange_.request_done && all_sent && !exchange_.upstream_deaf;
    if (client_owes && (!exchange_.expects_continue || exchange_.interim_responses > 0))
        return waiting::client_body;
    if (client_ended_) return waiting::half_closed;
    return exchange_.event_stream ? waiting::nobody : waiting::upstream;
}

void http_session_core::tick() {
    waiting const whom = waits_for();
    auto const since = env_.now - stamp_;
    bool late = false;
    switch (whom) {
        case waiting::nobody:
            break;
        case waiting::next_request:
        case waiting::client_reading:
            late = since >= env_.timeouts.idle;
            break;
        case waiting::head:
        case waiting::client_body:
            late = since >= env_.timeouts.head;
            break;
        case waiting::connecting:
            late = since >= env_.timeouts.connect;
            break;
        case waiting::upstream:
            late = since >= env_.timeouts.response;
            break;
        case waiting::half_closed:
            late = since >= env_.timeouts.half_closed &&
                   env_.now - half_closed_since_ >= env_.timeouts.half_closed;
            break;
        case waiting::lingering:
            late = since >= env_.timeouts.linger;
            break;
    }
    if (!late) return;
    timed_out(whom);
    advance();
}

void http_session_core::timed_out(waiting whom) {
    switch (whom) {
        case waiting::nobody:
            return;
        case waiting::next_request:
        case waiting::half_closed:
        case waiting::lingering:
            client_lost();
            return;
        case waiting::client_reading:
            ++env_.stats.client_timeouts;
            client_lost();
            actions_.reset_client = true;
            return;
        case waiting::head:
            exchange_ = {};
            [[fallthrough]];
        case waiting::client_body:
            ++env_.stats.client_timeouts;
            if (phase_ == phase::discarding) return start_closing(true);
            if (exchange_.response_head_sent) return abort_response();
            end_exchange();
            exchange_.keep_alive = false;
            return answer_problem(408, "request_timeout", "The request took too long",
                                  "the request did not arrive in time");
        case waiting::connecting:
            end_exchange();
            actions_.upstream_is_down = true;
            return fail_upstream(upstream_failure::timed_out,
                                 "the application did not accept a connection in time");
        case waiting::upstream:
            return fail_upstream(upstream_failure::timed_out, "the application did not answer in time");
    }
}

}  // namespace lull
