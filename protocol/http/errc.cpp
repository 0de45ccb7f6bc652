#include "protocol/http/errc.hpp"

namespace lull::http {

char const* describe(errc e) noexcept {
    switch (e) {
        case errc::none:
            return "nothing is wrong";
        case errc::bad_start_line:
            return "the first line is not laid out as HTTP/1.1 requires";
        case errc::bad_method:
            return "the method is not a token of at most 32 characters";
        case errc::bad_target:
            return "the request target is malformed";
        case errc::target_too_long:
            return "the request target is too long";
        case errc::bad_version:
            return "the protocol version is malformed";
        case errc::unsupported_version:
            return "only HTTP/1.0 and HTTP/1.1 are spoken here";
        case errc::bad_status:
            return "the status code is not three digits from 100 to 599";
        case errc::head_too_large:
            return "the header section is larger than the limit";
        case errc::too_many_fields:
            return "there are more header fields than the limit";
        case errc::bad_field_name:
            return "a field name is not a token directly followed by a colon";
        case errc::bad_field_value:
            return "a field value contains a control character";
        case errc::obsolete_folding:
            return "a field value is folded over several lines";
        case errc::bare_cr_or_lf:
            return "a line does not end in CR LF";
        case errc::no_host:
            return "there is no Host field";
        case errc::bad_host:
            return "the Host field is malformed or there are several";
        case errc::host_mismatch:
            return "the request target names another host than the Host field";
        case errc::bad_content_length:
            return "Content-Length is not one number";
        case errc::ambiguous_length:
            return "Content-Length and Transfer-Encoding contradict each other";
        case errc::bad_transfer_coding:
            return "Transfer-Encoding is something other than exactly \"chunked\"";
        case errc::unsupported_expectation:
            return "the only expectation that can be met is 100-continue";
        case errc::unsupported_method:
            return "this method is not served here";
        case errc::bad_chunk:
            return "the chunked body is malformed";
        case errc::chunk_extensions_too_long:
            return "the chunk extensions are longer than the limit";
        case errc::bad_trailer:
            return "the trailer section is malformed";
        case errc::trailer_too_long:
            return "the trailer section is larger than the limit";
    }
    return "";
}

unsigned status_of(errc e) noexcept {
    switch (e) {
        case errc::target_too_long:
            return 414;
        case errc::head_too_large:
        case errc::too_many_fields:
        case errc::trailer_too_long:
            return 431;
        case errc::unsupported_version:
            return 505;
        case errc::unsupported_expectation:
            return 417;
        case errc::unsupported_method:
            return 501;
        case errc::none:
        case errc::bad_start_line:
        case errc::bad_method:
        case errc::bad_target:
        case errc::bad_version:
        case errc::bad_status:
        case errc::bad_field_name:
        case errc::bad_field_value:
        case errc::obsolete_folding:
        case errc::bare_cr_or_lf:
        case errc::no_host:
        case errc::bad_host:
        case errc::host_mismatch:
        case errc::bad_content_length:
        case errc::ambiguous_length:
        case errc::bad_transfer_coding:
        case errc::bad_chunk:
        case errc::chunk_extensions_too_long:
        case errc::bad_trailer:
            return 400;
    }
    return 400;
}

}  // namespace lull::http
