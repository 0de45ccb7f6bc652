#include "proxy/pin_set_core.hpp"

#include <utility>

namespace lull {

using routing::statement_kind;

namespace {

constexpr pin all[] = {pin::mode,   pin::temporary, pin::cursor,   pin::lock,   pin::hidden_lock,
                       pin::listen, pin::prepared,  pin::settings, pin::library, pin::sequences};

char const* name_of(pin what) {
    switch (what) {
        case pin::mode:
            return "pool mode";
        case pin::temporary:
            return "temporary table";
        case pin::cursor:
            return "cursor with hold";
        case pin::lock:
            return "advisory lock";
        case pin::hidden_lock:
            return "";
        case pin::listen:
            return "LISTEN";
        case pin::prepared:
            return "PREPARE that cannot be carried";
        case pin::settings:
            return "settings that cannot be carried";
        case pin::library:
            return "LOAD or slot";
        case pin::sequences:
            return "sequences";
    }
    return "";
}

bool can_be_asked(pin what) {
    switch (what) {
        case pin::temporary:
        case pin::cursor:
        case pin::lock:
        case pin::hidden_lock:
        case pin::listen:
            return true;
        case pin::mode:
        case pin::prepared:
        case pin::settings:
        case pin::library:
        case pin::sequences:
            return false;
    }
    return false;
}

}  // namespace

void pin_set::add(routing::statement const& s) {
    if (s.may_set) add(pin::settings);
    bool const makes = s.kind == statement_kind::ddl || s.command == "SELECT INTO";
    bool const cursor = s.kind == statement_kind::declare_cursor;
    if (makes) add(pin::temporary);
    if (cursor) add(pin::cursor);
    if (makes || cursor)
        add(pin::hidden_lock);  // by a function that its query calls
    else if (s.kind == statement_kind::listen)
        add(pin::listen);
    else if (s.kind == statement_kind::set || s.kind == statement_kind::reset)
        add(pin::settings);
    else if (s.kind == statement_kind::utility && s.command == "LOAD")
        add(pin::library);
    else
        add(pin::lock);
}

void pin_set::add(routing::leavings left) {
    using routing::leaving;
    for (auto const& [what, pinned] : {std::pair{leaving::temporary, pin::temporary}, {leaving::cursor, pin::cursor},
                                       {leaving::lock, pin::lock}, {leaving::listen, pin::listen},
                                       {leaving::prepared, pin::prepared}, {leaving::setting, pin::settings},
                                       {leaving::library, pin::library}})
        if (left.has(what)) add(pinned);
}

bool pin_set::askable() const {
    for (pin what : all)
        if (has(what) && what != pin::sequences && !can_be_asked(what)) return false;
    return beside(pin::sequences);
}

std::string pin_set::text() const {
    std::string out;
    for (pin what : all) {
        std::string_view const name = name_of(what);
        if (!has(what) || name.empty()) continue;
        if (!out.empty()) out += ", ";
        out += name;
    }
    return out;
}

}  // namespace lull
