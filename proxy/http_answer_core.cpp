// Answers that are Lull's own: refusals, errors and the status document.
#include "protocol/http/problem.hpp"
#include "protocol/http/writer.hpp"
#include "proxy/http_session_core.hpp"

#include <algorithm>
#include <chrono>

namespace lull {
namespace {

/// A body that is not wanted is read to its end when that costs less than a new connection.
constexpr std::uint64_t skippable_bytes = 64 * 1024;

std::string_view name_of(routing::mode m) {
    switch (m) {
        case routing::mode::read_write:
            return "read_write";
        case routing::mode::draining:
            return "draining";
        case routing::mode::sealed:
            return "sealed";
        case routing::mode::reopening:
            return "reopening";
    }
    return "";
}

constexpr std::string_view page_fields =
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action "
    "'none'\r\n";

}  // namespace

std::uint64_t http_session_core::retry_after_seconds(routing::site const& site) const {
    using std::chrono::ceil;
    using std::chrono::seconds;
    auto const wait =
        site.until ? ceil<seconds>(*site.until - env_.wall) : ceil<seconds>(site.settings->retry_after);
    return static_cast<std::uint64_t>(std::max<seconds::rep>(wait.count(), 1));
}

void http_session_core::append_mode_fields(std::string& out) const {
    routing::site const* const site = exchange_.has_site ? env_.find(exchange_.site) : nullptr;
    if (!site || site->mode == routing::mode::read_write) return;
    out.append("X-Read-Only-Mode: 1\r\n");
    http::append_field(out, "X-Read-Only-Epoch", static_cast<std::uint64_t>(site->epoch));
}

bool http_session_core::can_skip_rest() const {
    // A client that waits for 100 may send its body or not after another answer: what comes next is unknown.
    return request_body_.by_length() && request_body_.remaining() <= skippable_bytes &&
           !exchange_.expects_continue;
}

void http_session_core::answer(unsigned status, std::string_view content_type, std::string_view body,
                               std::string_view fields) {
    bool const rest = !exchange_.request_done;
    bool const keep = exchange_.keep_alive && (!rest || can_skip_rest());
    std::string head;
    http::append_status_line(head, status);
    http::append_field(head, "Date", http::format_http_date(env_.wall));
    http::append_field(head, "Content-Type", content_type);
    http::append_field(head, "Content-Length", body.size());
    head.append("Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n").append(fields);
    if (!exchange_.request_id.empty()) http::append_field(head, "X-Request-Id", exchange_.request_id);
    append_mode_fields(head);
    if (!keep)
        head.append("Connection: close\r\n");
    else if (exchange_.http_1_0)
        head.append("Connection: keep-alive\r\n");
    head.append("\r\n");
    to_client_.append(head);
    if (!exchange_.head_method) to_client_.append(body);

    if (!keep) return start_closing(rest);
    phase_ = rest ? phase::discarding : phase::head;
    touch();
}

void http_session_core::answer_malformed(http::errc e) {
    ++env_.stats.malformed;
    // Where a request ends is not known any more; nothing behind it may be read as one.
    exchange_.keep_alive = exchange_.request_done = false;
    unsigned const status = http::status_of(e);
    answer_problem(status, "malformed_request", http::reason_phrase(status), http::describe(e));
}

void http_session_core::answer_problem(unsigned status, std::string_view code, std::string_view title,
                                       std::string_view detail) {
    http::problem p;
    p.status = status;
    p.code = code;
    p.title = title;
    p.detail = detail;
    p.request_id = exchange_.request_id;
    if (routing::site const* const site = exchange_.has_site ? env_.find(exchange_.site) : nullptr)
        p.site = site->settings->name;
    if (exchange_.format == http::answer_format::page)
        answer(status, "text/html; charset=utf-8", http::problem_page(p), page_fields);
    else
        answer(status, "application/problem+json", http::problem_document(p), {});
}

void http_session_core::answer_read_only(routing::site const& site) {
    ++env_.refused_of(site.id);
    std::string const until = site.until ? http::format_rfc3339(*site.until) : std::string();
    std::string detail =
        "The site is being maintained: it can be read, but changes are not accepted at the moment.";
    if (!site.reason.empty()) detail.append(" Reason: ").append(site.reason);

    http::problem p;
    p.status = 503;
    p.code = "read_only";
    p.title = "Read-only for maintenance";
    p.detail = detail;
    p.request_id = exchange_.request_id;
    p.site = site.settings->name;
    p.read_only = true;
    p.until = until;
    p.retry_after_seconds = retry_after_seconds(site);
    p.epoch = static_cast<std::uint64_t>(site.epoch);

    std::string fields;
    http::append_field(fields, "Retry-After", p.retry_after_seconds);
    if (exchange_.format == http::answer_format::page) {
        fields.append(page_fields);
        answer(503, "text/html; charset=utf-8", http::problem_page(p), fields);
    } else {
        answer(503, "application/problem+json", http::problem_document(p), fields);
    }
}

void http_session_core::answer_status(routing::site const& site) {
    std::string_view const method = env_.request.method;
    if (method != "GET" && method != "HEAD") {
        http::problem p;
        p.status = 405;
        p.code = "method_not_allowed";
        p.title = "Method not allowed";
        p.detail = "the status can only be read";
        p.request_id = exchange_.request_id;
        return answer(405, "application/problem+json", http::problem_document(p), "Allow: GET, HEAD\r\n");
    }
    bool const open = site.mode == routing::mode::read_write;
    std::string body = "{\"site\":";
    http::append_json_string(body, site.settings->name);
    body.append(",\"mode\":\"").append(name_of(site.mode)).append("\",\"epoch\":");
    http::append_number(body, static_cast<std::uint64_t>(site.epoch));
    body.append(",\"until\":");
    if (site.until && !open)
        http::append_json_string(body, http::format_rfc3339(*site.until));
    else
        body.append("null");
    body.append(",\"reason\":");
    if (site.reason.empty() || open)
        body.append("null");
    else
        http::append_json_string(body, site.reason);
    body.append(",\"retry_after\":");
    if (open)
        body.append("null");
    else
        http::append_number(body, retry_after_seconds(site));
    body.append("}\n");
    answer(200, "application/json", body, {});
}

}  // namespace lull
