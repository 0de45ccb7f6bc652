#include "proxy/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
#include <string>

namespace lull::log {

namespace {

std::atomic<level> lowest{level::info};

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
        l->set_pattern("%Y-%m-%d %H:%M:%S.%e %v", spdlog::pattern_time_type::utc);
        l->set_level(spdlog::level::trace);
        l->flush_on(spdlog::level::trace);
        return l;
    }();
    return *made;
}

}  // namespace

void open(level l) {
    lowest = l;
    logger();
}

bool wants(level l) noexcept {
    return l >= lowest.load(std::memory_order_relaxed);
}

void write(level l, std::string_view line) {
    std::string clean;
    clean.reserve(line.size() + 16);
    for (char const c : line) {
        auto const u = static_cast<unsigned char>(c);
        if (u < 0x20 || u == 0x7f) {
            clean += fmt::format("\\x{:02x}", u);
        } else {
            clean += c;
        }
    }
    logger().info("{} [lull] {}", name(l), clean);
}

}  // namespace lull::log
