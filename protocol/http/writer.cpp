#include "protocol/http/writer.hpp"

#include <charconv>
#include <cstdio>
#include <ctime>

namespace lull::http {
namespace {

template <int Base>
void append_in_base(std::string& out, std::uint64_t n) {
    char digits[20];
    auto const end = std::to_chars(digits, digits + sizeof digits, n, Base).ptr;
    out.append(digits, end);
}

std::tm utc(std::chrono::system_clock::time_point t) {
    std::time_t const seconds = std::chrono::system_clock::to_time_t(t);
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return parts;
}

}  // namespace

void append_number(std::string& out, std::uint64_t n) {
    append_in_base<10>(out, n);
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\r\n");
}

void append_field(std::string& out, std::string_view name, std::uint64_t value) {
    out.append(name).append(": ");
    append_number(out, value);
    out.append("\r\n");
}

void append_status_line(std::string& out, unsigned status, std::string_view reason) {
    out.append("HTTP/1.1 ");
    append_number(out, status);
    out.append(" ").append(reason.empty() ? reason_phrase(status) : reason).append("\r\n");
}

void append_chunk_line(std::string& out, std::uint64_t size) {
    append_in_base<16>(out, size);
    out.append("\r\n");
}

std::string_view reason_phrase(unsigned status) noexcept {
    switch (status) {
        case 100:
            return "Continue";
        case 101:
            return "Switching Protocols";
        case 103:
            return "Early Hints";
        case 200:
            return "OK";
        case 204:
            return "No Content";
        case 304:
            return "Not Modified";
        case 400:
            return "Bad Request";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 414:
            return "URI Too Long";
        case 417:
            return "Expectation Failed";
        case 421:
            return "Misdirected Request";
        case 431:
            return "Request Header Fields Too Large";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return "";
    }
}

std::string format_http_date(std::chrono::system_clock::time_point t) {
    static constexpr char const* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr char const* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm const p = utc(t);
    char text[64];
    std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[p.tm_wday], p.tm_mday,
                  months[p.tm_mon], p.tm_year + 1900, p.tm_hour, p.tm_min, p.tm_sec);
    return text;
}

std::string format_rfc3339(std::chrono::system_clock::time_point t) {
    std::tm const p = utc(t);
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", p.tm_year + 1900, p.tm_mon + 1,
                  p.tm_mday, p.tm_hour, p.tm_min, p.tm_sec);
    return text;
}

}  // namespace lull::http
