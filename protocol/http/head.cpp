#include "protocol/http/head.hpp"

#include "protocol/http/chars.hpp"

#include <cstring>
#include <limits>

namespace lull::http {
namespace {

constexpr std::string_view crlf = "\r\n";

/// Takes one line off the front of a complete head.
std::string_view take_line(std::string_view& rest) noexcept {
    std::size_t const end = rest.find(crlf);
    std::string_view const line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    return line;
}

errc parse_version(std::string_view text, version& out) noexcept {
    if (text == "HTTP/1.1") {
        out = version::http_1_1;
        return errc::none;
    }
    if (text == "HTTP/1.0") {
        out = version::http_1_0;
        return errc::none;
    }
    bool const shaped = text.size() == 8 && text.starts_with("HTTP/") && is_digit(text[5]) &&
                        text[6] == '.' && is_digit(text[7]);
    return shaped ? errc::unsupported_version : errc::bad_version;
}

errc parse_request_line(std::string_view line, head_limits const& limits, request_head& out) noexcept {
    std::size_t const first = line.find(' ');
    std::size_t const last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) return errc::bad_start_line;
    out.method = line.substr(0, first);
    out.target = line.substr(first + 1, last - first - 1);
    if (!is_token(out.method) || out.method.size() > 32) return errc::bad_method;
    if (out.target.size() > limits.target_bytes) return errc::target_too_long;
    if (!is_target(out.target)) return errc::bad_target;
    return parse_version(line.substr(last + 1), out.version);
}

errc parse_status_line(std::string_view line, response_head& out) noexcept {
    if (line.size() < 12 || line[8] != ' ') return errc::bad_start_line;
    if (errc const e = parse_version(line.substr(0, 8), out.version); e != errc::none) return e;
    std::string_view const code = line.substr(9, 3);
    for (char const c : code)
        if (!is_digit(c)) return errc::bad_status;
    out.status = hex_value(code[0]) * 100 + hex_value(code[1]) * 10 + hex_value(code[2]);
    if (out.status < 100 || out.status > 599) return errc::bad_status;
    // The space before an empty reason is missing from some servers; nobody can misread that.
    if (line.size() > 12 && line[12] != ' ') return errc::bad_status;
    out.reason = line.size() > 13 ? line.substr(13) : std::string_view();
    return is_field_value(out.reason) ? errc::none : errc::bad_start_line;
}

template <class Each>
errc for_each_field(std::string_view rest, head_limits const& limits, std::vector<field>& fields,
                    Each&& each) {
    while (rest != crlf) {
        if (fields.size() == limits.fields) return errc::too_many_fields;
        field f;
        if (errc const e = parse_field_line(take_line(rest), f); e != errc::none) return e;
        fields.push_back(f);
        if (f.disguised) continue;
        if (errc const e = each(f); e != errc::none) return e;
    }
    return errc::none;
}

/// What both kinds of message say about their length and their connection.
struct length_facts {
    bool chunked = false;
    bool has_length = false;
    std::uint64_t length = 0;
    std::string_view upgrade;
    unsigned upgrades = 0;

    errc take(field const& f, std::vector<std::string_view>& connections) {
        if (f.id == field_id::content_length) {
            // A second one is refused even when equal: whoever sends it is broken or testing us.
            auto const n = parse_length(f.value);
            if (!n || has_length) return errc::bad_content_length;
            has_length = true;
            length = *n;
        } else if (f.id == field_id::transfer_encoding) {
            if (chunked || !iequals(f.value, "chunked")) return errc::bad_transfer_coding;
            chunked = true;
        } else if (f.id == field_id::connection) {
            connections.push_back(f.value);
        } else if (f.id == field_id::upgrade) {
            upgrade = f.value;
            ++upgrades;
        }
        return chunked && has_length ? errc::ambiguous_length : errc::none;
    }
    errc check(version v) const noexcept {
        return chunked && v == version::http_1_0 ? errc::bad_transfer_coding : errc::none;
    }
    bool keep_alive(version v, std::vector<std::string_view> const& connections) const noexcept {
        return !is_listed(connections, "close") &&
               (v == version::http_1_1 || is_listed(connections, "keep-alive"));
    }
    std::string_view upgrade_to(std::vector<std::string_view> const& connections) const noexcept {
        return upgrades == 1 && is_listed(connections, "upgrade") ? upgrade : std::string_view();
    }
};

/// With a method, or a reason phrase, and a version.
std::size_t longest_start_line(head_limits const& limits) {
    return limits.target_bytes + 64;
}

}  // namespace

std::variant<std::size_t, head_incomplete, errc> head_scanner::scan(std::string_view in,
                                                                    head_limits const& limits) noexcept {
    while (true) {
        void const* const found =
            scanned_ < in.size() ? std::memchr(in.data() + scanned_, '\n', in.size() - scanned_) : nullptr;
        std::size_t const end =
            found ? static_cast<std::size_t>(static_cast<char const*>(found) - in.data()) : in.size();
        // Bytes that no head may contain are refused when they arrive, not when the head is complete.
        for (std::size_t i = scanned_; i < end; ++i) {
            auto const c = static_cast<unsigned char>(in[i]);
            if (c >= 0x20 || c == '\t') continue;
            if (c != '\r') return lines_ == 0 ? errc::bad_start_line : errc::bad_field_value;
            if (i + 1 < in.size() && in[i + 1] != '\n') return errc::bare_cr_or_lf;
        }
        if (!found) {
            scanned_ = end;
            // A CR at the very end is judged again together with what follows it.
            if (scanned_ > 0 && in[scanned_ - 1] == '\r') --scanned_;
            if (scanned_ < line_) scanned_ = line_;
            if (lines_ == 0 && in.size() > longest_start_line(limits)) return errc::target_too_long;
            if (in.size() >= limits.head_bytes) return errc::head_too_large;
            return head_incomplete{};
        }
        if (end == 0 || end == line_ || in[end - 1] != '\r') return errc::bare_cr_or_lf;
        if (lines_ == 0 && end > longest_start_line(limits)) return errc::target_too_long;
        if (end + 1 > limits.head_bytes) return lines_ == 0 ? errc::target_too_long : errc::head_too_large;
        bool const empty = end - 1 == line_;
        line_ = scanned_ = end + 1;
        if (empty)
            return lines_ == 0 ? std::variant<std::size_t, head_incomplete, errc>(errc::bad_start_line)
                               : std::variant<std::size_t, head_incomplete, errc>(line_);
        if (++lines_ > limits.fields + 1) return errc::too_many_fields;
    }
}

void request_head::clear() {
    auto kept_fields = std::move(fields);
    auto kept_connections = std::move(connections);
    *this = {};
    fields = std::move(kept_fields);
    connections = std::move(kept_connections);
    fields.clear();
    connections.clear();
}

void response_head::clear() {
    auto kept_fields = std::move(fields);
    auto kept_connections = std::move(connections);
    *this = {};
    fields = std::move(kept_fields);
    connections = std::move(kept_connections);
    fields.clear();
    connections.clear();
}

errc parse_field_line(std::string_view line, field& out) noexcept {
    if (line.front() == ' ' || line.front() == '\t') return errc::obsolete_folding;
    std::size_t const colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return errc::bad_field_name;
    out.name = line.substr(0, colon);
    out.value = trim(line.substr(colon + 1));
    if (!is_field_value(out.value)) return errc::bad_field_value;
    out.id = identify(out.name, out.disguised);
    return errc::none;
}

std::optional<std::uint64_t> parse_length(std::string_view text) noexcept {
    if (text.empty() || text.size() > 19) return std::nullopt;
    std::uint64_t n = 0;
    for (char const c : text) {
        if (!is_digit(c)) return std::nullopt;
        n = n * 10 + hex_value(c);
    }
    if (n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return n;
}

bool is_listed(std::vector<std::string_view> const& connections, std::string_view name) noexcept {
    for (std::string_view const list : connections)
        if (list_contains(list, name)) return true;
    return false;
}

errc parse_request_head(std::string_view bytes, head_limits const& limits, request_head& out) {
    out.clear();
    std::string_view rest = bytes;
    if (errc const e = parse_request_line(take_line(rest), limits, out); e != errc::none) return e;

    length_facts facts;
    bool has_host = false;
    errc expectation = errc::none;
    errc const failed = for_each_field(rest, limits, out.fields, [&](field const& f) {
        if (f.id == field_id::host) {
            if (has_host) return errc::bad_host;
            has_host = true;
            out.host = f.value;
        } else if (f.id == field_id::expect) {
            if (iequals(f.value, "100-continue"))
                out.expects_continue = true;
            else
                expectation = errc::unsupported_expectation;
        } else if (f.id == field_id::te) {
            out.te_trailers = out.te_trailers || list_contains(f.value, "trailers");
        }
        return facts.take(f, out.connections);
    });
    if (failed != errc::none) return failed;
    if (errc const e = facts.check(out.version); e != errc::none) return e;
    if (!has_host && out.version == version::http_1_1) return errc::no_host;

    out.framing = facts.chunked                          ? framing::chunked
                  : facts.has_length && facts.length > 0 ? framing::length
                                                         : framing::none;
    out.content_length = facts.length;
    out.keep_alive = facts.keep_alive(out.version, out.connections);
    if (out.version == version::http_1_0) {
        out.expects_continue = false;  // RFC 9110 section 10.1.1: must be ignored
        return errc::none;
    }
    out.upgrade = facts.upgrade_to(out.connections);
    return expectation;
}

errc parse_response_head(std::string_view bytes, head_limits const& limits, answered to, response_head& out) {
    out.clear();
    std::string_view rest = bytes;
    if (errc const e = parse_status_line(take_line(rest), out); e != errc::none) return e;

    length_facts facts;
    errc const failed = for_each_field(rest, limits, out.fields,
                                       [&](field const& f) { return facts.take(f, out.connections); });
    if (failed != errc::none) return failed;
    if (errc const e = facts.check(out.version); e != errc::none) return e;

    out.has_length = facts.has_length;
    out.content_length = facts.length;
    bool const bodyless = to == answered::head || out.status < 200 || out.status == 204 || out.status == 304;
    out.framing = bodyless            ? framing::none
                  : facts.chunked     ? framing::chunked
                  : !facts.has_length ? framing::until_close
                  : facts.length == 0 ? framing::none
                                      : framing::length;
    out.keep_alive = out.framing != framing::until_close && facts.keep_alive(out.version, out.connections);
    out.upgrade = facts.upgrade_to(out.connections);
    return errc::none;
}

}  // namespace lull::http
