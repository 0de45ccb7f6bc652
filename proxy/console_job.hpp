// One command of an operator that is being answered. For console_desk's own files.
#pragma once

#include "proxy/console_desk.hpp"

namespace lull {

struct console_desk::job {
    job(boost::asio::io_context& io, worker_id w, std::uint64_t r, console_command command, std::string who)
        : worker(w), request(r), what(std::move(command)), user(std::move(who)), timer(io) {}

    worker_id worker;
    std::uint64_t request;
    console_command what;
    std::string user;
    boost::asio::steady_timer timer;
    std::chrono::steady_clock::time_point const since = std::chrono::steady_clock::now();
    std::chrono::steady_clock::time_point next_word = since + std::chrono::seconds(1);
    std::chrono::milliseconds patience{};
    bool over = false;  // answered, or nobody waits
};

}  // namespace lull
