#include "proxy/tls_doubts.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <sys/stat.h>

namespace lull {

namespace {

constexpr std::chrono::days soon{14};

std::string date_of(std::chrono::sys_seconds moment) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(moment)));
}

}  // namespace

std::optional<tls_doubt> doubt_period(std::string const& file, certificate_period const& period, std::chrono::sys_seconds now) {
    std::string const renew = "renew it, then `lull reload`: no connection is dropped";
    if (now >= period.until) return tls_doubt{fmt::format("{}: it has expired, on {}", file, date_of(period.until)), renew};
    if (now < period.from)
        return tls_doubt{fmt::format("{}: it is not valid before {}", file, date_of(period.from)),
                         "look at the clock of this machine, or give a certificate that is valid"};
    if (period.until - now < soon) return tls_doubt{fmt::format("{}: it expires soon, on {}", file, date_of(period.until)), renew};
    return std::nullopt;
}

std::optional<tls_doubt> doubt_key_file(std::string const& file) {
    struct stat about {};
    if (::stat(file.c_str(), &about) != 0 || !S_ISREG(about.st_mode)) return std::nullopt;
    mode_t const too_much = about.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if ((about.st_mode & too_much) == 0) return std::nullopt;
    return tls_doubt{file + ": others can read this private key, or change it", "chmod 0600 " + file};
}

}  // namespace lull
