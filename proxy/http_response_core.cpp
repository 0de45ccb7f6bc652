// Responses: from the upstream to the client, framed as the client can read it.
#include "protocol/http/chars.hpp"
#include "protocol/http/writer.hpp"
#include "proxy/http_session_core.hpp"

namespace lull {
namespace {

constexpr std::uint8_t max_interim_responses = 32;

bool passes_to_client(http::field const& f, http::response_head const& head) {
    switch (f.id) {
        case http::field_id::connection:
        case http::field_id::content_length:
        case http::field_id::keep_alive:
        case http::field_id::lull:
        case http::field_id::proxy:
        case http::field_id::te:
        case http::field_id::trailer:
        case http::field_id::transfer_encoding:
        case http::field_id::upgrade:
            return false;
        case http::field_id::other:
        case http::field_id::accept:
        case http::field_id::content_type:
        case http::field_id::date:
        case http::field_id::expect:
        case http::field_id::forwarded:
        case http::field_id::host:
        case http::field_id::method_override:
        case http::field_id::request_id:
        case http::field_id::sec_fetch_mode:
        case http::field_id::via:
            break;
    }
    return head.connections.empty() || !http::is_listed(head.connections, f.name);
}

/// Every protocol that the upstream switches to was asked for.
bool asked_for(std::string_view given, std::string_view asked) {
    bool all = !given.empty();
    http::for_each_element(given,
                           [&](std::string_view one) { all = all && http::list_contains(asked, one); });
    return all;
}

}  // namespace

bool http_session_core::pump_response() {
    if (exchange_.upstream != link::connected) return false;
    bool const moved = exchange_.response_head_done ? forward_body() : read_response_head();
    if (moved || phase_ != phase::exchange || !exchange_.upstream_ended) return moved;
    // Nothing more comes; what is missing will stay missing. A full output only delays this.
    if (exchange_.response_head_done && to_client_.size() + 1024 > http_block_bytes) return false;
    return upstream_gone();
}

/// The upstream has ended its connection and all it said was read.
bool http_session_core::upstream_gone() {
    if (exchange_.response_head_done && response_body_.until_close() && !exchange_.upstream_reset) {
        if (exchange_.chunked_response) to_client_.append("0\r\n\r\n");
        complete();
        return true;
    }
    bool const resend = exchange_.reused && !exchange_.retried && !exchange_.response_begun &&
                        exchange_.idempotent && !exchange_.has_body;
    if (!resend) {
        fail_upstream(upstream_failure::unreachable,
                      exchange_.response_begun
                          ? "the application closed the connection in the middle of its answer"
                          : "the application closed the connection without an answer");
        return true;
    }
    // It closed an idle connection at the moment at which we used it again.
    ++env_.stats.retries;
    exchange_.retried = true;
    exchange_.reused = exchange_.upstream_ended = exchange_.upstream_reset = exchange_.upstream_deaf = false;
    exchange_.upstream = link::wanted;
    request_head_sent_ = 0;
    actions_.drop_upstream = true;
    actions_.connect = true;
    actions_.site = exchange_.site;
    actions_.choice = upstream_choice::fresh;
    touch();
    return false;
}

void http_session_core::fail_upstream(upstream_failure why, std::string_view detail) {
    if (exchange_.response_head_sent) {
        if (why == upstream_failure::timed_out) ++env_.stats.upstream_timeouts;
        return abort_response();
    }
    end_exchange();
    switch (why) {
        case upstream_failure::timed_out:
            ++env_.stats.upstream_timeouts;
            return answer_problem(504, "upstream_timeout", "The application is not answering", detail);
        case upstream_failure::unreachable:
            ++env_.stats.upstream_errors;
            return answer_problem(502, "upstream_unavailable", "The application cannot be reached", detail);
    }
}

bool http_session_core::read_response_head() {
    std::string_view const in = upstream_in_.view();
    if (in.empty()) return false;
    auto const found = response_scanner_.scan(in, env_.response_limits);
    auto const* size = std::get_if<std::size_t>(&found);
    auto e = http::errc::none;
    if (auto const* bad = std::get_if<http::errc>(&found))
        e = *bad;
    else if (!size)
        return false;
    else
        e = http::parse_response_head(in.substr(0, *size), env_.response_limits,
                                      exchange_.head_method ? http::answered::head : http::answered::other,
                                      env_.response);
    http::response_head const& head = env_.response;
    bool const switches = e == http::errc::none && head.status == 101;
    bool const bad_switch =
        switches && (exchange_.upgrade.empty() || !asked_for(head.upgrade, exchange_.upgrade));
    if (e != http::errc::none || bad_switch) {
        fail_upstream(upstream_failure::unreachable,
                      bad_switch ? "the application switched to a protocol that was not asked for"
                                 : "the application's answer is not valid HTTP");
        return true;
    }
    if (head.status < 200 && !switches) {
        bool const forwarded = forward_interim_response();
        if (!forwarded) {
            fail_upstream(upstream_failure::unreachable, "the application sent too many interim responses");
            return true;
        }
        upstream_in_.consume(*size);
        response_scanner_.reset();
        return true;
    }

    exchange_.response_head_done = exchange_.response_head_sent = true;
    exchange_.upstream_keep_alive = head.keep_alive;
    exchange_.chunked_response = !exchange_.http_1_0 && (head.framing == http::framing::chunked ||
                                                         head.framing == http::framing::until_close);
    exchange_.delimited_by_close = exchange_.http_1_0 && (head.framing == http::framing::chunked ||
                                                          head.framing == http::framing::until_close);
    // An early answer: the rest of the request goes nowhere, so the connection cannot be used again.
    if (exchange_.delimited_by_close || leave_when_idle_) exchange_.keep_alive = false;
    response_body_ = http::body_reader(head.framing, head.content_length);
    env_.text.clear();
    write_response_head(env_.text);
    to_client_.append(env_.text);
    upstream_in_.consume(*size);
    response_scanner_.reset();
    if (switches) start_tunnel();
    return true;
}

/// False: there were too many of them.
bool http_session_core::forward_interim_response() {
    http::response_head const& head = env_.response;
    if (++exchange_.interim_responses > max_interim_responses || to_client_.size() >= 4 * http_block_bytes)
        return false;
    bool const awaited = head.status != 100 || exchange_.expects_continue;
    if (exchange_.http_1_0 || !awaited) return true;
    env_.text.clear();
    http::append_status_line(env_.text, head.status, head.reason);
    for (http::field const& f : head.fields)
        if (passes_to_client(f, head)) http::append_field(env_.text, f.name, f.value);
    env_.text.append("\r\n");
    to_client_.append(env_.text);
    return true;
}

void http_session_core::write_response_head(std::string& out) {
    http::response_head const& head = env_.response;
    http::append_status_line(out, head.status, head.reason);
    for (http::field const& f : head.fields) {
        if (f.id == http::field_id::trailer && exchange_.chunked_response)
            http::append_field(out, f.name, f.value);
        else if (passes_to_client(f, head))
            http::append_field(out, f.name, f.value);
        if (f.id == http::field_id::content_type && http::istarts_with(f.value, "text/event-stream"))
            exchange_.event_stream = true;
    }
    bool const may_have_length = head.status >= 200 && head.status != 204;
    if (exchange_.chunked_response)
        out.append("Transfer-Encoding: chunked\r\n");
    else if (head.has_length && may_have_length)
        http::append_field(out, "Content-Length", head.content_length);
    out.append("Via: 1.1 lull\r\n");
    append_mode_fields(out);
    if (head.status == 101) {
        out.append("Connection: upgrade\r\n");
        http::append_field(out, "Upgrade", head.upgrade);
    } else if (!exchange_.keep_alive) {
        out.append("Connection: close\r\n");
    } else if (exchange_.http_1_0) {
        out.append("Connection: keep-alive\r\n");
    }
    out.append("\r\n");
}

bool http_session_core::forward_body() {
    bool moved = false;
    while (true) {
        std::size_t const used = to_client_.size();
        if (used + 1024 > http_block_bytes) return moved;
        std::string_view const in = upstream_in_.view();
        if (used == 0 && response_body_.by_length() && in.size() > 4096 &&
            response_body_.remaining() >= in.size()) {
            // All of it is body: hand the block over instead of copying it.
            (void)response_body_.next(in, env_.body_limits);
            to_client_.take_all(upstream_in_);
            moved = true;
            continue;
        }
        http::body_step const step =
            response_body_.next(in.substr(0, http_block_bytes - used - 512), env_.body_limits);
        switch (step.what) {
            case http::body_step::kind::need_more:
                upstream_in_.consume(step.consumed);
                return moved || step.consumed > 0;
            case http::body_step::kind::error:
                abort_response();
                return true;
            case http::body_step::kind::data:
                if (exchange_.chunked_response) {
                    env_.text.clear();
                    http::append_chunk_line(env_.text, step.data.size());
                    to_client_.append(env_.text);
                    to_client_.append(step.data);
                    to_client_.append("\r\n");
                } else {
                    to_client_.append(step.data);
                }
                break;
            case http::body_step::kind::trailer:
            case http::body_step::kind::end: {
                bool const end = step.what == http::body_step::kind::end;
                env_.text.clear();
                if (exchange_.chunked_response) {
                    if (!exchange_.last_chunk_answered) http::append_chunk_line(env_.text, 0);
                    exchange_.last_chunk_answered = true;
                    if (end)
                        env_.text.append("\r\n");
                    else if (step.trailer.id == http::field_id::other)
                        http::append_field(env_.text, step.trailer.name, step.trailer.value);
                }
                to_client_.append(env_.text);
                upstream_in_.consume(step.consumed);
                if (!end) continue;
                complete();
                return true;
            }
        }
        upstream_in_.consume(step.consumed);
        moved = true;
    }
}

void http_session_core::start_tunnel() {
    phase_ = phase::tunnel;
    ++env_.stats.open_tunnels;
    request_head_.clear();
    request_head_sent_ = 0;
}

void http_session_core::complete() {
    bool const all_sent =
        exchange_.request_done && to_upstream_.empty() && request_head_sent_ == request_head_.size();
    // Bytes behind the response would be taken for the next one.
    bool const reusable = all_sent && exchange_.upstream_keep_alive && upstream_in_.empty() &&
                          !exchange_.upstream_ended && !exchange_.upstream_deaf;
    if (reusable) {
        actions_.release_upstream = true;
        exchange_.upstream = link::none;
    }
    end_exchange();
    bool const rest_unread = !exchange_.request_done;
    if (!exchange_.keep_alive || rest_unread) return start_closing(rest_unread || !client_in_.empty());
    phase_ = phase::head;
    touch();
}

}  // namespace lull
