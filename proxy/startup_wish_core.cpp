#include "proxy/startup_wish_core.hpp"

#include "config/ascii.hpp"
#include "protocol/errc.hpp"
#include "protocol/pg/reader.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "protocol/utf8.hpp"

#include <utility>
#include <variant>
#include <vector>

namespace lull {

namespace {

constexpr std::size_t length_bytes = 4;
constexpr std::size_t most_name_bytes = 63;  // NAMEDATALEN - 1
constexpr std::string_view extension_prefix = "_pq_.";

std::string in_ascii(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (static_cast<unsigned char>(c) >= 0x80) c = '?';
    return out;
}

/// Nothing: PostgreSQL takes no such value either.
std::optional<replication_kind> replication_of(std::string_view value) {
    if (value == "database") return replication_kind::of_database;
    for (std::string_view const off : {"", "false", "off", "no", "0", "f", "n"})
        if (value == off) return replication_kind::none;
    for (std::string_view const on : {"true", "on", "yes", "1", "t", "y"})
        if (value == on) return replication_kind::physical;
    return std::nullopt;
}

/// Those that say whose session it is or how it is spoken.
bool is_no_setting(std::string_view name) {
    return name == "user" || name == "database" || name == "replication" || name == "options" ||
           name.starts_with(extension_prefix);
}

}  // namespace

startup_wish read_startup_wish(pg::startup_message const& startup, setting_interner& interner) {
    startup_wish wish;
    wish.packet_bytes = startup.packet_bytes;
    wish.user = startup.find("user").value_or("");
    wish.database = startup.find("database").value_or("");
    if (wish.database.empty()) wish.database = wish.user;
    // As PostgreSQL cuts them: whoever is known by one name has one limit, and one pool.
    for (std::string* name : {&wish.user, &wish.database})
        if (name->size() > most_name_bytes) name->resize(most_name_bytes);
    auto const fault = [&](std::string_view sqlstate, std::string message, std::string_view hint = {}) {
        wish.wrong = {sqlstate, std::move(message), hint};
        return std::move(wish);
    };
    if (wish.user.empty())
        return fault(pg::sqlstate::invalid_authorization_specification,
                     "no PostgreSQL user name specified in startup packet");

    bool const replicates = startup.find("replication").has_value();
    setting_map settings;
    std::string no_setting;
    auto const add = [&](std::string const& name, std::string_view value) {
        std::string key = ascii_lower(name);
        // In a startup packet these would say anew whose session it is, and PostgreSQL takes the last.
        if (key.empty() || is_no_setting(key)) no_setting = name;
        // Somebody else's encoding, in what is only shown: as PostgreSQL, which takes no other than ASCII there (before 16).
        bool const shown = key == "application_name" && as_utf8(value) != value;
        settings.emplace_back(std::move(key), setting_value(shown ? in_ascii(value) : std::string(value), {}));
        if (replicates) wish.parameters.emplace_back(name, value);
    };
    std::vector<std::string_view> unsupported;
    for (auto const& [name, value] : startup.parameters) {
        if (name.starts_with(extension_prefix)) {
            unsupported.push_back(name);
        } else if (name == "replication") {
            auto const kind = replication_of(ascii_lower(value));
            if (!kind)
                return fault(pg::sqlstate::invalid_parameter_value,
                             "invalid value for parameter \"replication\": \"" + value + "\"",
                             "Valid values are: \"false\", 0, \"true\", 1, \"database\".");
            wish.replication = *kind;
        } else if (name == "options") {
            auto const options = pg::parse_options(value);
            auto const* list = std::get_if<pg::parameter_list>(&options);
            if (!list)
                return fault(pg::sqlstate::protocol_violation, std::string(message_of(std::get<errc>(options))),
                             "Of the startup parameter options, \"-c name=value\" and \"--name=value\" are supported.");
            for (auto const& [option, setting] : *list) add(option, setting);
        }
    }
    for (auto const& [name, value] : startup.parameters)
        if (!is_no_setting(name)) add(name, value);  // a parameter of its own wins over one in `options`
    if (replicates && !no_setting.empty())
        return fault(pg::sqlstate::undefined_object, "unrecognized configuration parameter \"" + no_setting + "\"");
    sort_settings(settings);
    wish.settings = interner.intern(std::move(settings));
    if (wish.replication == replication_kind::none) wish.parameters.clear();
    wish.protocol = startup.minor >= 2 ? pg::protocol_3_2 : pg::protocol_3_0;
    // A client that asked for just that and for no extension is not told.
    if ((pg::protocol_3_0 | startup.minor) != wish.protocol || !unsupported.empty())
        pg::write_negotiate_protocol_version(wish.negotiation, wish.protocol, unsupported);
    return wish;
}

std::shared_ptr<startup_wish const> startup_book::find(pg::bytes in) const {
    if (in.size() < length_bytes) return nullptr;
    std::size_t const packet_bytes = pg::reader(in).uint32();
    if (packet_bytes > longest || packet_bytes > in.size()) return nullptr;
    auto const at = known_.find(pg::as_text(in.first(packet_bytes)));
    return at == known_.end() ? nullptr : at->second;
}

std::shared_ptr<startup_wish const> startup_book::keep(pg::bytes in, pg::startup_message const& startup) {
    auto made = std::make_shared<startup_wish const>(read_startup_wish(startup, settings_));
    if (made->packet_bytes > longest) return made;
    if (known_.size() >= most) known_.clear();
    known_.emplace(pg::as_text(in.first(made->packet_bytes)), made);
    return made;
}

}  // namespace lull
