// Requests: what becomes of one, and its way to the upstream.
#include "protocol/http/chars.hpp"
#include "protocol/http/writer.hpp"
#include "proxy/http_session_core.hpp"
#include "routing/http_rules.hpp"

namespace lull {
namespace {

constexpr std::string_view status_path = "/.well-known/lull/status";
constexpr std::size_t longest_path_shown = 200;

bool sane_request_id(std::string_view id) {
    if (id.empty() || id.size() > 128) return false;
    for (char const c : id)
        if (!http::is_alnum(c) && std::string_view("._~:+/=@-").find(c) == std::string_view::npos)
            return false;
    return true;
}

/// The client's own identifier where it has one that can be written to logs and pages, else a new one.
std::string choose_request_id(http_env& env) {
    std::string_view given;
    unsigned count = 0;
    for (http::field const& f : env.request.fields) {
        if (f.id != http::field_id::request_id || f.disguised) continue;
        given = f.value;
        ++count;
    }
    return count == 1 && sane_request_id(given) ? std::string(given) : env.make_request_id();
}

/// In upper case. Several that differ: a name that no rule and no class knows, so that the worst is assumed.
std::string method_override(http::request_head const& head) {
    std::string found;
    for (http::field const& f : head.fields) {
        if (f.id != http::field_id::method_override || f.disguised) continue;
        std::string name;
        for (char const c : f.value) name += http::upper(c);
        if (!found.empty() && found != name) return "?";
        found = name.empty() ? "?" : name;
    }
    return found;
}

/// What a GET may be upgraded to. HTTP/2 over a tunnel would carry requests that nobody judges.
bool may_upgrade(http::request_head const& head) {
    if (head.upgrade.empty() || head.method != "GET" || head.framing != http::framing::none) return false;
    bool allowed = true;
    http::for_each_element(head.upgrade, [&](std::string_view protocol) {
        if (http::istarts_with(protocol, "h2") || http::istarts_with(protocol, "http/") ||
            http::istarts_with(protocol, "tls"))
            allowed = false;
    });
    return allowed;
}

bool passes_upstream(http::field const& f, http::request_head const& head, bool with_body) {
    if (f.disguised) return false;
    switch (f.id) {
        case http::field_id::connection:
        case http::field_id::content_length:
        case http::field_id::forwarded:
        case http::field_id::host:
        case http::field_id::keep_alive:
        case http::field_id::lull:
        case http::field_id::proxy:
        case http::field_id::request_id:
        case http::field_id::te:
        case http::field_id::transfer_encoding:
        case http::field_id::upgrade:
            return false;
        case http::field_id::expect:
            return head.expects_continue && with_body;
        case http::field_id::trailer:
            return head.framing == http::framing::chunked;
        case http::field_id::other:
        case http::field_id::accept:
        case http::field_id::content_type:
        case http::field_id::date:
        case http::field_id::method_override:
        case http::field_id::sec_fetch_mode:
        case http::field_id::via:
            break;
    }
    return head.connections.empty() || !http::is_listed(head.connections, f.name);
}

}  // namespace

void http_session_core::start_request(std::string_view bytes) {
    exchange_ = {};
    touch();
    http::request_head& head = env_.request;
    if (auto const e = http::parse_request_head(bytes, env_.head_limits, head); e != http::errc::none)
        return answer_malformed(e);
    exchange_.http_1_0 = head.version == http::version::http_1_0;
    exchange_.head_method = head.method == "HEAD";
    exchange_.format = http::choose_format(head);
    exchange_.request_id = choose_request_id(env_);

    if (auto const e = http::parse_target(head.method, head.target, env_.target); e != http::errc::none)
        return answer_malformed(e);
    std::string& host = env_.host;
    if (!http::normalise_host(head.host, host)) return answer_malformed(http::errc::bad_host);
    if (!env_.target.host.empty()) {
        if (!head.host.empty() && host != env_.target.host)
            return answer_malformed(http::errc::host_mismatch);
        host = env_.target.host;
    }

    exchange_.keep_alive = head.keep_alive && !leave_when_idle_;
    exchange_.expects_continue = head.expects_continue && head.framing != http::framing::none;
    exchange_.has_body = head.framing != http::framing::none;
    exchange_.request_done = !exchange_.has_body;
    exchange_.chunked_request = head.framing == http::framing::chunked;
    exchange_.te_trailers = head.te_trailers;
    request_body_ = http::body_reader(head.framing, head.content_length);

    auto const found = env_.snapshot->by_host.find(host);
    if (found == env_.snapshot->by_host.end()) {
        ++env_.stats.misdirected;
        return answer_problem(421, "unknown_host", "No such site here",
                              "this server does not serve the host of the request");
    }
    exchange_.has_site = true;
    exchange_.site = found->second;
    routing::site const& site = env_.snapshot->of(found->second);
    if (env_.target.path == status_path) return answer_status(site);

    std::string const override_name = method_override(head);
    switch (routing::judge({head.method, override_name, env_.target.path, env_.target.careless_path},
                           *site.settings, site.mode)) {
        case routing::http_verdict::refuse:
            return answer_read_only(site);
        case routing::http_verdict::pass:
            return forward(site, false);
        // One that begins later passes because its SQL is held; sealing does not wait for it.
        case routing::http_verdict::write:
            return forward(site, site.mode == routing::mode::read_write);
    }
}

void http_session_core::forward(routing::site const& site, bool counts_as_write) {
    http::request_head const& head = env_.request;
    exchange_.idempotent = routing::classify_method(head.method) != routing::method_class::unsafe;
    if (may_upgrade(head)) exchange_.upgrade = head.upgrade;
    if (counts_as_write) {
        exchange_.counted_write = true;
        exchange_.what = head.method;
        exchange_.what.append(" ").append(std::string_view(env_.target.path).substr(0, longest_path_shown));
        exchange_.since = env_.now;
        ++env_.writes_of(site.id);
    }
    env_.text.clear();
    write_request_head(site, env_.text);
    request_head_.append(env_.text);
    request_head_sent_ = 0;

    response_scanner_.reset();
    response_body_ = {};
    exchange_.upstream = link::wanted;
    actions_.connect = true;
    actions_.site = site.id;
    actions_.choice =
        exchange_.idempotent && !exchange_.has_body ? upstream_choice::any : upstream_choice::checked;
    phase_ = phase::exchange;
}

void http_session_core::write_request_head(routing::site const& site, std::string& out) const {
    http::request_head const& head = env_.request;
    std::string_view const host = head.host.empty() ? std::string_view(env_.host) : head.host;
    out.append(head.method)
        .append(" ")
        .append(env_.target.path)
        .append(env_.target.query)
        .append(" HTTP/1.1\r\n");
    http::append_field(out, "Host", host);
    for (http::field const& f : head.fields)
        if (passes_upstream(f, head, exchange_.has_body)) http::append_field(out, f.name, f.value);

    if (head.framing == http::framing::chunked)
        out.append("Transfer-Encoding: chunked\r\n");
    else if (head.framing == http::framing::length)
        http::append_field(out, "Content-Length", head.content_length);
    else if (routing::classify_method(head.method) != routing::method_class::safe)
        out.append("Content-Length: 0\r\n");
    if (!exchange_.upgrade.empty()) {
        http::append_field(out, "Upgrade", exchange_.upgrade);
        out.append(head.te_trailers ? "TE: trailers\r\nConnection: upgrade, te\r\n"
                                    : "Connection: upgrade\r\n");
    } else if (head.te_trailers) {
        out.append("TE: trailers\r\nConnection: te\r\n");
    }

    // No proxy before us is trusted: what we see is all that is known.
    http::append_field(out, "X-Forwarded-For", peer_address_);
    out.append("X-Forwarded-Proto: http\r\n");
    http::append_field(out, "X-Forwarded-Host", host);
    http::append_field(out, "X-Forwarded-Port", local_port_);
    out.append(exchange_.http_1_0 ? "Via: 1.0 lull\r\n" : "Via: 1.1 lull\r\n");
    http::append_field(out, "X-Request-Id", exchange_.request_id);

    if (site.mode == routing::mode::read_write) {
        out.append("X-Read-Only-Mode: 0\r\n\r\n");
        return;
    }
    out.append("X-Read-Only-Mode: 1\r\n");
    http::append_field(out, "X-Read-Only-Epoch", static_cast<std::uint64_t>(site.epoch));
    // The operator typed it: line breaks and controls would end the field.
    if (!site.reason.empty() && http::is_field_value(site.reason))
        http::append_field(out, "X-Read-Only-Reason", site.reason);
    if (site.until) http::append_field(out, "X-Read-Only-Until", http::format_rfc3339(*site.until));
    out.append("\r\n");
}

bool http_session_core::pump_request() {
    if (exchange_.request_done || exchange_.upstream != link::connected || exchange_.upstream_deaf)
        return false;
    bool moved = false;
    while (true) {
        // Room for the data and the framing around it.
        std::size_t const used = to_upstream_.size();
        if (used + 1024 > http_block_bytes) return moved;
        std::string_view const in = client_in_.view();
        if (used == 0 && request_body_.by_length() && in.size() > 4096 &&
            request_body_.remaining() >= in.size()) {
            // All of it is body: hand the block over instead of copying it.
            (void)request_body_.next(in, env_.body_limits);
            to_upstream_.take_all(client_in_);
            moved = true;
            continue;
        }
        http::body_step const step =
            request_body_.next(in.substr(0, http_block_bytes - used - 512), env_.body_limits);
        switch (step.what) {
            case http::body_step::kind::need_more:
                client_in_.consume(step.consumed);
                if (client_ended_) {
                    // It will never be complete, and the application must not take it for complete.
                    client_lost();
                    return false;
                }
                return moved;
            case http::body_step::kind::error:
                request_body_failed(step.error);
                return true;
            case http::body_step::kind::data:
                if (exchange_.chunked_request) {
                    env_.text.clear();
                    http::append_chunk_line(env_.text, step.data.size());
                    to_upstream_.append(env_.text);
                    to_upstream_.append(step.data);
                    to_upstream_.append("\r\n");
                } else {
                    to_upstream_.append(step.data);
                }
                break;
            case http::body_step::kind::trailer:
            case http::body_step::kind::end: {
                bool const end = step.what == http::body_step::kind::end;
                env_.text.clear();
                if (exchange_.chunked_request) {
                    if (!exchange_.last_chunk_sent) http::append_chunk_line(env_.text, 0);
                    exchange_.last_chunk_sent = true;
                    if (end)
                        env_.text.append("\r\n");
                    else if (step.trailer.id == http::field_id::other)
                        http::append_field(env_.text, step.trailer.name, step.trailer.value);
                }
                to_upstream_.append(env_.text);
                client_in_.consume(step.consumed);
                if (!end) continue;
                exchange_.request_done = true;
                return true;
            }
        }
        client_in_.consume(step.consumed);
        moved = true;
    }
}

void http_session_core::request_body_failed(http::errc e) {
    // The upstream has part of a message that will never end: its connection must go.
    if (exchange_.response_head_sent) {
        ++env_.stats.malformed;
        return abort_response();
    }
    end_exchange();
    answer_malformed(e);
}

}  // namespace lull
