#include "protocol/pg/saslprep.hpp"

#define U_SHOW_CPLUSPLUS_API 0
#include <openssl/crypto.h>
#include <unicode/usprep.h>
#include <unicode/ustring.h>

#include <algorithm>
#include <cstdint>
#include <memory>

// What ICU prepares otherwise than PostgreSQL (tried with each character, alone and between others, and with random ones):
// - It checks what has come of normalising, as the RFC has it; PostgreSQL what there was before. So U+0340 and U+0341 are let
//   pass; and whether directions are mixed may be answered otherwise where Hebrew or Arabic is written with presentation forms,
//   or stands beside symbols that become letters (U+2116), and of U+2135 to U+2138, which become Hebrew letters.
// - Five ideographs (U+2F868, U+2F874, U+2F91F, U+2F95F, U+2F9BF) become what Unicode 3.2 said; it was corrected later.
// No keyboard writes these; who has one in a password can give Lull the verifier.
namespace lull::pg {
namespace {

using utf16 = std::u16string;

std::int32_t size_of(auto const& text) { return static_cast<std::int32_t>(text.size()); }

void wipe(utf16& secret) {
    OPENSSL_cleanse(secret.data(), secret.size() * sizeof(char16_t));
}

std::optional<utf16> utf16_of(std::string_view text) {
    utf16 units(text.size(), u'\0');  // there are never more units than bytes
    std::int32_t size = 0;
    UErrorCode status = U_ZERO_ERROR;
    u_strFromUTF8(units.data(), size_of(units), &size, text.data(), size_of(text), &status);
    if (U_FAILURE(status)) return std::nullopt;
    units.resize(static_cast<std::size_t>(size));
    return units;
}

std::optional<std::string> utf8_of(utf16 const& units) {
    std::string text(units.size() * 3, '\0');
    std::int32_t size = 0;
    UErrorCode status = U_ZERO_ERROR;
    u_strToUTF8(text.data(), size_of(text), &size, units.data(), size_of(units), &status);
    if (U_FAILURE(status)) return std::nullopt;
    text.resize(static_cast<std::size_t>(size));
    return text;
}

// Opened for each password, and only for those that need it: the library keeps what it has loaded, and who has none of them
// does not pay for its tables.
std::optional<utf16> prepare(utf16 const& password) {
    struct closer {
        void operator()(UStringPrepProfile* profile) const noexcept { usprep_close(profile); }
    };
    UErrorCode status = U_ZERO_ERROR;
    std::unique_ptr<UStringPrepProfile, closer> const profile(usprep_openByType(USPREP_RFC4013_SASLPREP, &status));
    if (U_FAILURE(status)) return std::nullopt;
    utf16 prepared(password.size(), u'\0');
    auto const fill = [&] {
        status = U_ZERO_ERROR;
        return static_cast<std::size_t>(usprep_prepare(profile.get(), password.data(), size_of(password), prepared.data(),
                                                       size_of(prepared), USPREP_DEFAULT, nullptr, &status));
    };
    std::size_t size = fill();
    if (status == U_BUFFER_OVERFLOW_ERROR) {  // one character may become eighteen
        wipe(prepared);
        prepared.assign(size, u'\0');
        size = fill();
    }
    if (U_FAILURE(status)) return std::nullopt;
    prepared.resize(size);
    return prepared;
}

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

std::optional<std::string> saslprep(std::string_view password) {
    if (is_ascii(password) || password.size() > max_saslprep_bytes) return std::nullopt;
    auto units = utf16_of(password);
    auto prepared = units ? prepare(*units) : std::nullopt;
    auto text = prepared && !prepared->empty() ? utf8_of(*prepared) : std::nullopt;
    if (units) wipe(*units);
    if (prepared) wipe(*prepared);
    return text;
}

}  // namespace lull::pg
