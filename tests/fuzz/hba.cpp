// Any pg_hba.conf: bounded, and every rule that was understood can be asked.
#include "config/hba.hpp"

#include "routing/admission.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace lull;

namespace {

/// Whatever is included is the whole text again.
class mirror final : public config::hba_files {
  public:
    explicit mirror(std::string_view text) : text_(text) {}
    std::variant<std::string, config::file_error> read(std::string const&) override { return std::string(text_); }
    std::variant<std::vector<std::string>, config::file_error> list(std::string const& folder) override {
        return std::vector<std::string>{folder + "/a.conf", folder + "/b.conf"};
    }

  private:
    std::string_view text_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    std::string_view const text{reinterpret_cast<char const*>(data), size};
    mirror files(text);
    config::hba_splitter splitter(files);
    auto const parsed = config::parse_hba(text, "/etc/pg_hba.conf", splitter);
    if (parsed.problems.size() > config::most_hba_problems) std::abort();
    for (auto const& rule : parsed.rules)
        if (rule.databases.empty() || rule.users.empty() ||
            (rule.network && rule.connection == config::hba_connection::local))
            std::abort();
    for (bool const local : {false, true}) {
        routing::newcomer who;
        who.local = local;
        if (!local) who.address = config::ip_address{};
        who.user = "user";
        who.database = "database";
        (void)routing::admit(parsed.rules, who);
    }
    return 0;
}
