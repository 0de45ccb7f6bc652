#include "protocol/http/target.hpp"

#include "protocol/http/chars.hpp"
#include "protocol/http/percent.hpp"

namespace lull::http {
namespace {

/// RFC 3986 section 6.2.2. False: a bad escape, or an encoded control character.
bool normalise_escapes(std::string_view in, std::string& out) {
    for (std::size_t i = 0; i < in.size(); ++i) {
        char const c = in[i];
        if (c != '%') {
            if (static_cast<unsigned char>(c) >= 0x80 || c == '"' || c == '<' || c == '>')
                append_escape(out, c);
            else
                out += c;
            continue;
        }
        if (i + 2 >= in.size() || !is_hex(in[i + 1]) || !is_hex(in[i + 2])) return false;
        auto const decoded = static_cast<char>(hex_value(in[i + 1]) * 16 + hex_value(in[i + 2]));
        if (static_cast<unsigned char>(decoded) < 0x20 || decoded == 0x7f) return false;
        if (is_unreserved(decoded))
            out += decoded;
        else
            append_escape(out, decoded);
        i += 2;
    }
    return true;
}

/// In place: `//` becomes `/`, `.` and `..` segments are resolved; what is above the root is the root.
void remove_dot_segments(std::string& path) {
    std::size_t write = 0;
    std::size_t read = 0;
    while (read < path.size()) {
        // At a slash: `read`; its segment ends before the next slash.
        std::size_t end = path.find('/', read + 1);
        if (end == std::string::npos) end = path.size();
        std::string_view const segment(path.data() + read + 1, end - read - 1);
        bool const last = end == path.size();
        if (segment == "..") {
            while (write > 0 && path[--write] != '/') {
            }
            if (last) path[write++] = '/';
        } else if (segment.empty() || segment == ".") {
            if (last) path[write++] = '/';
        } else {
            for (std::size_t i = read; i < end; ++i) path[write++] = path[i];
        }
        read = end;
    }
    path.resize(write);
    if (path.empty()) path.assign(1, '/');
}

bool needs_careless_form(std::string_view path) {
    return path.find_first_of("%\\;") != std::string_view::npos;
}

std::string careless(std::string_view path) {
    std::string out;
    for (std::size_t i = 0; i < path.size(); ++i) {
        char c = path[i];
        if (c == '%') {
            c = static_cast<char>(hex_value(path[i + 1]) * 16 + hex_value(path[i + 2]));
            i += 2;
        }
        out += c == '\\' ? '/' : c;
    }
    for (std::size_t at = 0; (at = out.find("..;", at)) != std::string::npos;) {
        bool const whole = at > 0 && out[at - 1] == '/';
        std::size_t const end = out.find('/', at);
        if (whole) out.erase(at + 2, (end == std::string::npos ? out.size() : end) - at - 2);
        at += 2;
    }
    remove_dot_segments(out);
    return out;
}

errc parse_path_and_query(std::string_view text, target& out) {
    std::size_t const mark = text.find('?');
    if (!normalise_escapes(text.substr(0, mark), out.path)) return errc::bad_target;
    remove_dot_segments(out.path);
    if (needs_careless_form(out.path)) {
        out.careless_path = careless(out.path);
        if (out.careless_path == out.path) out.careless_path.clear();
    }
    if (mark == std::string_view::npos) return errc::none;
    for (char const c : text.substr(mark)) {
        if (static_cast<unsigned char>(c) >= 0x80)
            append_escape(out.query, c);
        else
            out.query += c;
    }
    return errc::none;
}

}  // namespace

void target::clear() {
    path.clear();
    query.clear();
    careless_path.clear();
    host.clear();
}

errc parse_target(std::string_view method, std::string_view text, target& out) {
    out.clear();
    if (method == "CONNECT") return errc::unsupported_method;
    if (text == "*") {
        if (method != "OPTIONS") return errc::bad_target;
        out.path.assign(1, '*');
        return errc::none;
    }
    if (text.front() == '/') return parse_path_and_query(text, out);

    std::size_t const scheme = istarts_with(text, "http://") ? 7 : istarts_with(text, "https://") ? 8 : 0;
    if (scheme == 0) return errc::bad_target;
    text.remove_prefix(scheme);
    std::size_t const end = text.find_first_of("/?");
    if (!normalise_host(text.substr(0, end), out.host) || out.host.empty()) return errc::bad_target;
    if (end == std::string_view::npos) {
        out.path.assign(1, method == "OPTIONS" ? '*' : '/');  // RFC 9112 section 3.2.4
        return errc::none;
    }
    text.remove_prefix(end);
    if (text.front() == '/') return parse_path_and_query(text, out);
    std::string rooted(1, '/');
    return parse_path_and_query(rooted.append(text), out);
}

bool normalise_host(std::string_view text, std::string& out) {
    out.clear();
    if (text.size() > 255) return false;
    std::size_t name_end = text.size();
    if (!text.empty() && text.front() == '[') {
        name_end = text.find(']');
        if (name_end == std::string_view::npos) return false;
        for (char const c : text.substr(1, name_end - 1))
            if (!is_hex(c) && c != ':' && c != '.') return false;
        ++name_end;
    } else {
        name_end = std::min(text.find(':'), text.size());
        for (char const c : text.substr(0, name_end))
            if (!is_alnum(c) && c != '-' && c != '.' && c != '_') return false;
    }
    std::string_view port = text.substr(name_end);
    if (!port.empty()) {
        if (port.front() != ':' || port.size() > 6) return false;
        for (char const c : port.substr(1))
            if (!is_digit(c)) return false;
    }
    std::string_view name = text.substr(0, name_end);
    if (name.ends_with('.')) name.remove_suffix(1);
    for (char const c : name) out += lower(c);
    return true;
}

}  // namespace lull::http
