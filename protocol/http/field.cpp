#include "protocol/http/field.hpp"

#include "protocol/http/chars.hpp"

#include <array>
#include <cstddef>

namespace lull::http {
namespace {

field_id identify_plain(std::string_view name) noexcept {
    auto const is = [&](std::string_view known) { return iequals(name, known); };
    switch (name.size()) {
        case 2:
            if (is("te")) return field_id::te;
            break;
        case 3:
            if (is("via")) return field_id::via;
            break;
        case 4:
            if (is("host")) return field_id::host;
            if (is("date")) return field_id::date;
            break;
        case 5:
            if (is("proxy")) return field_id::proxy;
            break;
        case 6:
            if (is("accept")) return field_id::accept;
            if (is("expect")) return field_id::expect;
            break;
        case 7:
            if (is("upgrade")) return field_id::upgrade;
            if (is("trailer")) return field_id::trailer;
            break;
        case 9:
            if (is("forwarded") || is("x-real-ip")) return field_id::forwarded;
            break;
        case 10:
            if (is("connection")) return field_id::connection;
            if (is("keep-alive")) return field_id::keep_alive;
            break;
        case 12:
            if (is("content-type")) return field_id::content_type;
            if (is("x-request-id")) return field_id::request_id;
            break;
        case 13:
            if (is("x-http-method")) return field_id::method_override;
            break;
        case 14:
            if (is("content-length")) return field_id::content_length;
            if (is("sec-fetch-mode")) return field_id::sec_fetch_mode;
            break;
        case 17:
            if (is("transfer-encoding")) return field_id::transfer_encoding;
            if (is("x-method-override")) return field_id::method_override;
            break;
        case 18:
            if (is("x-frappe-site-name")) return field_id::lull;
            break;
        case 22:
            if (is("x-http-method-override")) return field_id::method_override;
            break;
        default:
            break;
    }
    if (lower(name.front()) == 'x' && (istarts_with(name, "x-read-only-") || istarts_with(name, "x-lull-")))
        return field_id::lull;
    if (istarts_with(name, "x-forwarded-")) return field_id::forwarded;
    if (istarts_with(name, "proxy-") && !is("proxy-status")) return field_id::proxy;
    return field_id::other;
}

}  // namespace

field_id identify(std::string_view name, bool& disguised) noexcept {
    disguised = false;
    bool plain = true;
    for (char const c : name) plain = plain && (is_alnum(c) || c == '-');
    if (plain) return identify_plain(name);

    // No known name is longer than this, but prefixes count: cut the rest.
    std::array<char, 32> folded;
    std::size_t const size = name.size() < folded.size() ? name.size() : folded.size();
    for (std::size_t i = 0; i < size; ++i) folded[i] = is_alnum(name[i]) ? name[i] : '-';
    field_id const id = identify_plain({folded.data(), size});
    disguised = id != field_id::other;
    return id;
}

}  // namespace lull::http
