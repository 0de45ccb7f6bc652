#include "config/endpoint.hpp"

#include "config/issue.hpp"

#include <algorithm>

namespace lull::config {
namespace {

constexpr bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
constexpr bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
constexpr bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_ipv4(std::string_view text) {
    int parts = 0;
    while (true) {
        auto const dot = text.find('.');
        auto const part = text.substr(0, dot);
        if (part.empty() || part.size() > 3 || !std::all_of(part.begin(), part.end(), is_digit)) return false;
        if (part.size() > 1 && part[0] == '0') return false;  // octal to some, decimal to others
        int value = 0;
        for (char c : part) value = value * 10 + (c - '0');
        if (value > 255) return false;
        ++parts;
        if (dot == std::string_view::npos) return parts == 4;
        text.remove_prefix(dot + 1);
    }
}

bool is_ipv6(std::string_view text) {
    if (auto const zone = text.find('%'); zone != std::string_view::npos) {
        auto const name = text.substr(zone + 1);
        if (name.empty() || name.size() > 15 || !std::all_of(name.begin(), name.end(), [](char c) {
                return is_digit(c) || is_letter(c) || c == '.' || c == '-' || c == '_';
            }))
            return false;
        text = text.substr(0, zone);
    }
    bool gap = false;
    int groups = 0;
    if (text.starts_with("::")) {
        gap = true;
        text.remove_prefix(2);
        if (text.empty()) return true;
    }
    while (true) {
        auto const colon = text.find(':');
        auto const group = text.substr(0, colon);
        if (colon == std::string_view::npos && group.find('.') != std::string_view::npos) {
            if (!is_ipv4(group)) return false;
            groups += 2;
        } else {
            if (group.empty() || group.size() > 4 || !std::all_of(group.begin(), group.end(), is_hex))
                return false;
            ++groups;
        }
        if (groups > 8) return false;
        if (colon == std::string_view::npos) break;
        text.remove_prefix(colon + 1);
        if (text.starts_with(':')) {
            if (gap) return false;
            gap = true;
            text.remove_prefix(1);
            if (text.empty()) break;
        }
    }
    return gap ? groups < 8 : groups == 8;
}

}  // namespace

bool is_host_name(std::string_view text) {
    if (text.empty() || text.size() > 253) return false;
    // All digits and dots is an address, and then must be one: 10.0.0.300 is no name.
    if (std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || c == '.'; }))
        return is_ipv4(text);
    while (true) {
        auto const dot = text.find('.');
        auto const label = text.substr(0, dot);
        if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
        if (!std::all_of(label.begin(), label.end(),
                         [](char c) { return is_digit(c) || is_letter(c) || c == '-' || c == '_'; }))
            return false;
        if (dot == std::string_view::npos) return true;
        text.remove_prefix(dot + 1);
    }
}

std::variant<endpoint, endpoint_error> parse_endpoint(std::string_view text, std::string_view example,
                                                      endpoint_kind kind) {
    auto const write = "write host:port, as in " + std::string(example);
    auto const default_port = std::string(example.substr(example.rfind(':') + 1));
    if (text.empty()) return endpoint_error{"no address", write};
    if (auto const scheme = text.find("://"); scheme != std::string_view::npos)
        return endpoint_error{shown(text) + " is a URL, not an address",
                              write + ": no " + shown(text.substr(0, scheme + 3)) + ", no path"};
    bool const path = text.front() == '/';
    if (path && kind == endpoint_kind::tcp)
        return endpoint_error{shown(text) + " is a path; only servers are reached over Unix sockets", write};
    if (is_ipv6(text))
        return endpoint_error{
            shown(text) + " is an IPv6 address without a port",
            "write it in brackets and quotes: \"[" + std::string(text) + "]:" + default_port + "\""};
    endpoint out;
    std::string_view port;
    if (text.front() == '[') {
        auto const close = text.find(']');
        if (close == std::string_view::npos)
            return endpoint_error{shown(text) + " has no closing bracket",
                                  "write \"[::1]:" + default_port + "\""};
        auto const host = text.substr(1, close - 1);
        if (!is_ipv6(host))
            return endpoint_error{shown(host) + " is not an IPv6 address",
                                  "write \"[::1]:" + default_port + "\"; brackets are for IPv6 only"};
        port = text.substr(close + 1);
        if (!port.starts_with(':'))
            return endpoint_error{shown(text) + " has no port",
                                  "write \"[" + std::string(host) + "]:" + default_port + "\""};
        port.remove_prefix(1);
        out.host = host;
    } else {
        auto const colon = text.rfind(':');
        auto const host = text.substr(0, colon);
        if (host == "*" || host.empty())
            return endpoint_error{shown(text) + " names no address",
                                  "name one: 127.0.0.1 is this machine only, 0.0.0.0 every IPv4 address of "
                                  "it, \"[::]\" every IPv6 address"};
        if (colon == std::string_view::npos) {
            if (std::all_of(text.begin(), text.end(), is_digit))
                return endpoint_error{shown(text) + " is a port without a host", write};
            if (path)
                return endpoint_error{
                    shown(text) + " has no port",
                    "write the directory and the port in the socket's name: " + std::string(text) + ":5432"};
            if (!is_host_name(host)) return endpoint_error{shown(text) + " is not an address", write};
            return endpoint_error{shown(text) + " has no port",
                                  "write " + std::string(host) + ":" + default_port};
        }
        if (!path && !is_host_name(host))
            return endpoint_error{shown(host) + " is neither a host name nor an IPv4 address", write};
        port = text.substr(colon + 1);
        out.host = host;
    }
    unsigned value = 0;
    bool const digits = !port.empty() && port.size() <= 5 && std::all_of(port.begin(), port.end(), is_digit);
    if (digits)
        for (char c : port) value = value * 10 + static_cast<unsigned>(c - '0');
    if (!digits || value < 1 || value > 65535)
        return endpoint_error{shown(port) + " is not a port",
                              "a port is a number from 1 to 65535, as in " + std::string(example)};
    out.port = static_cast<std::uint16_t>(value);
    if (path && unix_socket_path(out.host, out.port).size() >= longest_unix_path)
        return endpoint_error{shown(text) + " is too long a path for a Unix socket", "use a shorter one"};
    return out;
}

std::string format_endpoint(endpoint const& e) {
    bool const v6 = !e.host.starts_with('/') && e.host.find(':') != std::string::npos;
    return (v6 ? "[" + e.host + "]" : e.host) + ":" + std::to_string(e.port);
}

std::string unix_socket_path(std::string const& directory, std::uint16_t port) {
    return directory + "/.s.PGSQL." + std::to_string(port);
}

}  // namespace lull::config
