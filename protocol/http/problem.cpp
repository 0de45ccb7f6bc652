#include "protocol/http/problem.hpp"

#include "protocol/http/chars.hpp"
#include "protocol/http/writer.hpp"
#include "protocol/utf8.hpp"

#include <cstdio>

namespace lull::http {
namespace {

/// The weight in thousandths that an Accept element gives itself; malformed ones count as 1.
unsigned quality(std::string_view element) {
    std::size_t const q = element.find("q=");
    if (q == std::string_view::npos || q == 0 || (element[q - 1] != ';' && element[q - 1] != ' '))
        return 1000;
    std::string_view const text = element.substr(q + 2);
    unsigned value = 0;
    unsigned scale = 1000;
    for (std::size_t i = 0; i < text.size() && i < 5; ++i) {
        if (text[i] == '.') continue;
        if (!is_digit(text[i])) break;
        value += hex_value(text[i]) * scale;
        scale /= 10;
    }
    return value > 1000 ? 1000 : value;
}

void append_html(std::string& out, std::string_view text) {
    for (char const c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += c;
        }
    }
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
    out += ",\"";
    out += name;
    out += "\":";
    append_json_string(out, value);
}

}  // namespace

answer_format choose_format(request_head const& head) {
    unsigned html = 0;
    unsigned json = 0;
    for (field const& f : head.fields) {
        if (f.disguised) continue;
        if (f.id == field_id::sec_fetch_mode)
            return iequals(f.value, "navigate") ? answer_format::page : answer_format::problem;
        if (f.id != field_id::accept) continue;
        for_each_element(f.value, [&](std::string_view element) {
            std::string_view const type = trim(element.substr(0, element.find(';')));
            unsigned const q = quality(element);
            if (iequals(type, "text/html") || iequals(type, "application/xhtml+xml"))
                html = std::max(html, q);
            if (iequals(type, "application/json") || iequals(type, "application/problem+json"))
                json = std::max(json, q);
        });
    }
    return html > 0 && html >= json ? answer_format::page : answer_format::problem;
}

std::string problem_document(problem const& p) {
    std::string out = "{\"type\":\"urn:lull:problem:";
    out += p.code;
    out += '"';
    append_member(out, "title", p.title);
    out += ",\"status\":";
    append_number(out, p.status);
    append_member(out, "detail", p.detail);
    if (!p.request_id.empty())
        append_member(out, "instance", "urn:lull:request:" + std::string(p.request_id));
    append_member(out, "code", p.code);
    if (!p.site.empty()) append_member(out, "site", p.site);
    if (p.read_only) {
        if (p.until.empty())
            out += ",\"until\":null";
        else
            append_member(out, "until", p.until);
        out += ",\"retry_after\":";
        append_number(out, p.retry_after_seconds);
        out += ",\"epoch\":";
        append_number(out, p.epoch);
    }
    out += "}\n";
    return out;
}

std::string problem_page(problem const& p) {
    std::string out =
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"robots\" content=\"noindex\">\n<title>";
    append_html(out, p.title);
    out +=
        "</title>\n<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:12vh auto;padding:0 "
        "1rem;"
        "color:#222;background:#fff}h1{font-size:1.4rem}small{color:#666}"
        "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}small{color:#999}}</style>\n"
        "</head>\n<body>\n<main>\n<h1>";
    append_html(out, p.title);
    out += "</h1>\n<p>";
    append_html(out, p.detail);
    out += "</p>\n";
    if (p.read_only) {
        out +=
            "<p>Nothing was changed. You can go on reading; go back in your browser to keep what you typed, "
            "and "
            "send it again ";
        if (p.until.empty()) {
            out += "in about ";
            append_number(out, p.retry_after_seconds);
            out += " seconds";
        } else {
            out += "after <time datetime=\"";
            append_html(out, p.until);
            out += "\">";
            append_html(out, p.until);
            out += "</time>";
        }
        out += ".</p>\n";
    }
    out += "<p><small>";
    append_number(out, p.status);
    out += ' ';
    append_html(out, p.code);
    if (!p.request_id.empty()) {
        out += " &middot; request ";
        append_html(out, p.request_id);
    }
    out += "</small></p>\n</main>\n</body>\n</html>\n";
    return out;
}

void append_json_string(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        std::size_t const n = utf8_length(text);
        char const c = text.front();
        if (n == 0) {
            out += "\\ufffd";
        } else if (n > 1) {
            out += text.substr(0, n);
        } else if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
            out += escape;
        } else {
            out += c;
        }
        text.remove_prefix(n == 0 ? 1 : n);
    }
    out += '"';
}

}  // namespace lull::http
