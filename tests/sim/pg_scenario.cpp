#include "tests/sim/pg_scenario.hpp"

#include "tests/unit/proxy/pg_wire.hpp"

namespace lull::sim {

using namespace wire;

operation scenario::next(names how) {
    how_ = how;
    if (sly_ && dice_.one_in(2)) return way_out();
    switch (dice_.roll(12)) {
        case 0:
        case 1:
        case 2:
            return simple();
        case 3:
        case 4:
            return block();
        case 5:
            return setting();
        case 6:
            return copy();
        case 7:
            return many();
        default:
            return segment();
    }
}

/// Out of READ ONLY, in each shape that a guard has to end.
operation scenario::way_out() {
    operation op;
    op.undoes = true;
    std::string const c = fresh();
    std::string const text = "select escape('" + c + "')";
    std::string const in_one = parse("", text) + bind_to("") + execute();
    switch (dice_.roll(8)) {
        case 0:
            op.begins = true;
            op.bytes = query("begin");
            return op;
        case 1:
            op.commits = true;
            op.bytes = query("commit");
            return op;
        case 2:
            return portal_way_out();
        case 3:
            op.bytes = query(dice_.one_in(2) ? "savepoint a" : dice_.one_in(2) ? "rollback to savepoint a" : "select fail()");
            return op;
        case 4:  // executed where it may have been bound long ago, and what is to run outside
            op.reads = {c};
            op.bytes = execute(some_portal()) + (dice_.one_in(2) ? flush() : "") + in_one + sync();
            return op;
        case 5:  // open for a while, also over the flip
            op.reads = {c};
            op.bytes = parse("", "select nothing") + bind_to("") + execute() + flush() + in_one + sync();
            return op;
        default:
            break;
    }
    op.reads = {c};
    op.bytes = dice_.one_in(2) ? query(text) : in_one + sync();
    return op;
}

/// A short name, and two that are one to the server.
std::string scenario::some_portal() {
    return dice_.one_in(2) ? "e" : std::string(63, 'e') + (dice_.one_in(2) ? "1" : "2");
}

/// The end of a transaction, or of a part of it, bound and not executed; perhaps replaced, closed or skipped.
operation scenario::portal_way_out() {
    static char const* const ends[] = {"commit", "rollback", "commit and chain", "rollback and chain",
                                       "release a", "rollback to savepoint a", "select nothing"};
    operation op;
    op.undoes = true;
    if (dice_.one_in(4)) op.bytes += parse("", "select fail()") + bind_to("") + execute();
    if (dice_.one_in(3)) op.bytes += close('P', some_portal());
    op.bytes += parse("", ends[dice_.roll(std::size(ends))]) + bind_to("", some_portal());
    if (dice_.one_in(4)) op.bytes += flush() + execute(some_portal());
    op.bytes += sync();
    return op;
}

operation scenario::simple() {
    operation op;
    std::string const c = fresh();
    switch (dice_.roll(8)) {
        case 0:
        case 1:
            op.reads = {c};
            op.bytes = query("select '" + c + "'");
            break;
        case 2:
        case 3:
            op.write = c;
            op.bytes = query("insert into t values ('" + c + "')");
            break;
        case 4:
            op.write = c;
            op.reads = {c};
            op.bytes = query("select add_one('" + c + "')");
            break;
        case 5:
            op.reads = {c};
            op.undoes = true;  // in a guard it is acknowledged and undone
            op.bytes = query("select escape('" + c + "')");
            break;
        case 6:
            op.bytes = query(dice_.one_in(2) ? "select fail()" : "nonsense here");
            break;
        default:
            op.bytes = query(dice_.one_in(2) ? "" : "show work_mem");
            break;
    }
    return op;
}

operation scenario::block() {
    operation op;
    switch (dice_.roll(14)) {
        case 0:
        case 1:
        case 2:
            op.begins = true;
            op.bytes = query("begin");
            break;
        case 3:
            op.begins = true;
            op.bytes = query(on_standby_ || how_ == names::named ? "begin read only" : "begin");
            break;
        case 4:
        case 5:
        case 6:
            op.commits = true;
            op.bytes = query("commit");
            break;
        case 7:
            op.undoes = true;
            op.bytes = query("rollback");
            break;
        case 8:
            op.undoes = true;
            op.bytes = query("commit and chain");
            break;
        case 9:
            op.undoes = true;
            op.bytes = query("rollback and chain");
            break;
        case 10:
            op.bytes = query("savepoint a");
            break;
        case 11:
            op.bytes = query("release a");
            break;
        case 12:
            op.undoes = true;
            op.bytes = query("rollback to savepoint a");
            break;
        default:
            op.undoes = true;
            op.bytes =
                query(dice_.one_in(2) && (on_standby_ || how_ == names::named) ? "set transaction read only"
                      : how_ == names::named                                   ? "begin read write"
                                             : "begin");  // a standby has no READ WRITE
            break;
    }
    return op;
}

operation scenario::setting() {
    operation op;
    static char const* const texts[] = {"set application_name to 'one'",
                                        "set application_name to 'two'",
                                        "set work_mem to '64kB'",
                                        "set local work_mem to '1MB'",
                                        "reset work_mem",
                                        "set timezone to 'Europe/Rome'",
                                        "reset all",
                                        "discard all",
                                        "show application_name",
                                        "show timezone",
                                        "set work_mem to 'bad'",
                                        "set application_name to default",
                                        "deallocate s1",
                                        "deallocate all"};
    std::string const text = texts[dice_.roll(std::size(texts) - (how_ == names::new_ones ? 2 : 0))];
    if (dice_.one_in(3))
        op.bytes = parse("", text) + bind_to("") + execute() + sync();
    else
        op.bytes = query(text);
    return op;
}

std::string scenario::any_statement(operation& op) {
    std::string const c = fresh();
    op.undoes = true;
    switch (dice_.roll(9)) {
        case 0:
            return "insert into t values ('" + c + "')";
        case 1:
            op.reads.push_back(c);
            return "select add_one('" + c + "')";
        case 2:
            op.reads.push_back(c);
            return "select escape('" + c + "')";
        case 3:
            return "select fail()";
        case 4:
            if (on_standby_ && how_ != names::named) return "savepoint a";
            return dice_.one_in(2) ? "begin" : "commit";
        case 5:
            // (A SET behind a COMMIT of the same text is forgotten where that COMMIT was of a failed block.)
            if (!on_standby_ && how_ != names::named) return "savepoint a";
            return dice_.one_in(2) ? "set work_mem to '8MB'" : "savepoint a";
        default:
            op.reads.push_back(c);
            return "select '" + c + "'";
    }
}

operation scenario::many() {
    operation op;
    std::string text;
    for (std::size_t n = dice_.roll(3) + 2; n > 0; --n) text += any_statement(op) + ";";
    op.bytes = query(text);
    return op;
}

/// Parse, Bind, Describe, Execute, Close in about the order that drivers have, ended by Sync.
operation scenario::segment() {
    operation op;
    op.undoes = true;
    bool only_write = false;
    std::size_t const statements = dice_.roll(3) + 1;
    for (std::size_t n = 0; n < statements; ++n) {
        std::string const some = how_ == names::new_ones
                                     ? "n" + std::to_string(++count_) + "_" + std::to_string(dice_.roll(2))
                                     : "s" + std::to_string(dice_.roll(4));
        std::string const name = how_ == names::all && dice_.one_in(2) ? "" : some;
        std::string const portal = dice_.one_in(4) ? "p" : "";
        if (statements == 1 && dice_.one_in(4)) {
            op.write = fresh();
            only_write = true;
            op.bytes += parse("", "insert into t values ('" + op.write + "')") + bind_to("") + execute();
            continue;
        }
        switch (dice_.roll(8)) {
            case 0:  // several rows in pieces
            {
                std::string const a = fresh(), b = fresh(), c = fresh();
                op.reads.insert(op.reads.end(), {a, b, c});
                op.bytes += parse("", "select '" + a + "','" + b + "','" + c + "'") + bind_to("", portal) +
                            execute(portal, 2);
                if (dice_.one_in(2)) op.bytes += execute(portal, 2);
                break;
            }
            case 1:
                op.bytes += close('S', name);
                break;
            case 2:
                op.bytes += describe('S', name);
                break;
            case 3:  // one that was prepared earlier; it has no constants, so it may run often
                op.bytes += bind_to(name, portal) + describe('P', portal) + execute(portal);
                break;
            case 4:
                if (!name.empty() && dice_.one_in(2)) op.bytes += close('S', name);
                op.bytes += parse(name, how_ == names::new_ones ? "select as_" + name + std::to_string(n)
                                        : dice_.one_in(2)       ? "show work_mem"
                                                                : "select nothing");
                break;
            default: {
                std::string const text = any_statement(op);
                op.bytes += parse("", text) + bind_to("", portal);
                if (dice_.one_in(2)) op.bytes += describe('P', portal);
                op.bytes += execute(portal);
                break;
            }
        }
        if (dice_.one_in(8)) op.bytes += flush();
    }
    if (only_write) op.undoes = false;
    op.bytes += sync();
    return op;
}

operation scenario::copy() {
    operation op;
    std::string const c = fresh();
    if (dice_.one_in(3)) {
        op.reads = {c};
        op.bytes = query("copy (select '" + c + "') to stdout");
        return op;
    }
    op.undoes = true;
    bool const extended = dice_.one_in(3);
    std::string const rows = copy_data(c) + (dice_.one_in(2) ? copy_data(fresh()) : "") +
                             (extended || dice_.one_in(3) ? copy_done() : copy_fail("no"));
    // (Behind it another unnamed statement: one that is used again must not begin a copy.)
    op.bytes = extended ? parse("", "copy t from stdin") + bind_to("") + execute() + rows +
                              parse("", "show work_mem") + sync()
                        : query("copy t from stdin") + rows;
    return op;
}

}  // namespace lull::sim
