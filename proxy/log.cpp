#include "proxy/log.hpp"

#include "config/ascii.hpp"
#include "proxy/printable.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <string>

namespace lull::log {

namespace {

std::atomic<level> lowest{level::info};
std::atomic<config::log_format> format{config::log_format::text};

std::string_view name(level l) {
    switch (l) {
        case level::debug:
            return "DEBUG";
        case level::info:
            return "INFO";
        case level::notice:
            return "NOTICE";
        case level::warning:
            return "WARNING";
        case level::error:
            return "ERROR";
        case level::fatal:
            return "FATAL";
    }
    return "";
}

spdlog::logger& logger() {
    static std::shared_ptr<spdlog::logger> const made = [] {
        auto l = std::make_shared<spdlog::logger>("lull", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        l->set_pattern("%v");
        l->set_level(spdlog::level::trace);
        l->flush_on(spdlog::level::trace);
        return l;
    }();
    return *made;
}

using members = std::vector<std::pair<std::string_view, value>>;

std::string now(char separator) {
    auto const ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                        std::chrono::system_clock::now().time_since_epoch())
                        .count();
    std::time_t const seconds = static_cast<std::time_t>(ms / 1000);
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}.{:03}", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, separator, parts.tm_hour, parts.tm_min, parts.tm_sec, ms % 1000);
}

std::string as_text(value const& v) {
    if (auto const* n = std::get_if<std::uint64_t>(&v)) return std::to_string(*n);
    if (auto const* d = std::get_if<double>(&v)) return fmt::format("{:.3f}", *d);
    std::string const text = printable(std::get<std::string>(v));
    if (!text.empty() && text.find_first_of(" \"=") == std::string::npos) return text;
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

void put(level l, std::string_view message, members const& of) {
    std::string line;
    if (format == config::log_format::json) {
        nlohmann::ordered_json object{{"time", now('T') + "Z"}, {"level", ascii_lower(name(l))}, {"message", message}};
        for (auto const& [key, v] : of)
            std::visit([&](auto const& what) { object[std::string(key)] = what; }, v);
        line = object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    } else {
        line = fmt::format("{} {} [lull] {}", now(' '), name(l), printable(message));
        for (auto const& [key, v] : of) line += fmt::format(" {}={}", key, as_text(v));
    }
    logger().info("{}", line);
}

}  // namespace

void open(level l) {
    lowest = l;
    logger();
}

bool wants(level l) noexcept {
    return l >= lowest.load(std::memory_order_relaxed);
}

void configure(config::logging const& how) {
    format = how.format;
    switch (how.level) {
        case config::log_level::debug:
            lowest = level::debug;
            break;
        case config::log_level::info:
            lowest = level::info;
            break;
        case config::log_level::notice:
            lowest = level::notice;
            break;
        case config::log_level::warning:
            lowest = level::warning;
            break;
        case config::log_level::error:
            lowest = level::error;
            break;
    }
}

void write(level l, std::string_view line) {
    put(l, line, {});
}

void event(level l, std::string_view message, members const& of) {
    if (wants(l)) put(l, message, of);
}

}  // namespace lull::log
