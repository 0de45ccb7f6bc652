// A console session fed with whatever bytes, whole and in two parts: it must answer the same, never ask while
// it waits, and what it asks must come out of a command that reads the same when it is written again.
#include "proxy/console_session_core.hpp"

#include <cstdlib>
#include <string>

namespace {

using namespace lull;

void require(bool fact) {
    if (!fact) std::abort();
}

struct heard {
    std::string out;
    std::string questions;
};

heard run(std::string_view bytes, std::size_t cut) {
    console_session_core session(console_right::all);
    heard h;
    std::string waiting;
    auto feed = [&](std::string_view part) {
        waiting += part;
        for (;;) {
            std::size_t const used = session.on_client(pg::as_bytes(waiting), h.out);
            require(used <= waiting.size());
            waiting.erase(0, used);
            auto const question = session.take_question();
            require(question.has_value() == session.waits());
            if (!question) return;
            h.questions += static_cast<char>('a' + static_cast<int>(question->verb));
            h.questions += question->name + '\n';
            require(session.on_client(pg::as_bytes(waiting), h.out) == 0);
            session.on_answer("", true, h.out);
            require(!session.waits());
        }
    };
    feed(bytes.substr(0, cut));
    feed(bytes.substr(cut));
    return h;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    if (size == 0) return 0;
    std::string_view const bytes(reinterpret_cast<char const*>(data) + 1, size - 1);
    heard const whole = run(bytes, bytes.size());
    heard const parts = run(bytes, data[0] % (bytes.size() + 1));
    require(whole.out == parts.out && whole.questions == parts.questions);

    auto const parsed = lull::parse_console_command(bytes);
    if (auto const* command = std::get_if<lull::console_command>(&parsed)) {
        // A semicolon and blanks change nothing.
        std::string const again = " " + std::string(bytes) + " ; ";
        auto const same = lull::parse_console_command(again);
        if (again.size() <= lull::longest_console_command)
            require(std::holds_alternative<lull::console_command>(same) &&
                    std::get<lull::console_command>(same) == *command);
    }
    return 0;
}
