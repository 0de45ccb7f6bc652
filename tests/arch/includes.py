#!/usr/bin/env python3
"""Reads the includes of the whole tree and fails where a layer reaches further than it may.

    includes.py ROOT          checks the tree at ROOT
    includes.py --self-test   shows that each rule finds its breach, on small made-up trees

Layers: protocol and config include nothing of ours but themselves, routing also config/model.hpp, proxy all of them.
Only proxy knows Asio, sockets, TLS, libpq and threads; its *_core files, and whatever they include, do not.
Prints every breach as file:line, then "N passed, N failed", where one check is one rule on one file.
"""
import os
import re
import sys
import tempfile

LAYERS = ("protocol", "routing", "config", "proxy")
TOP_FOLDERS = set(LAYERS) | {"tests", "deploy"}
TOP_FILES = {"CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE"}
LONGEST = 450  # lines; about 400, one noun a file
LONGEST_TEST = 700  # a test file is a list of cases
EXEMPT = {"routing/sql_walk.c"}  # alone sees PostgreSQL's headers, so its node tables stay together

OURS = {  # which of ours each layer may include
    "protocol": r"protocol/",
    "config": r"config/",
    "routing": r"routing/|config/model\.hpp$",
    "proxy": r"protocol/|routing/|config/|proxy/",
    "tests": r"protocol/|routing/|config/|proxy/|tests/",
    "deploy": r"",
}

CPP_STANDARD = re.compile(r"[a-z_0-9]+$")
C_STANDARD = re.compile(
    r"(assert|ctype|errno|inttypes|limits|math|setjmp|stdarg|stdbool|stddef|stdint|stdio|stdlib|string|strings)\.h$")
THREADS = re.compile(
    r"(thread|mutex|shared_mutex|condition_variable|future|semaphore|latch|barrier|stop_token|pthread\.h|threads\.h)$")
# Not sys/uio.h: iovec is a value, and a core may say what is to be sent together.
NETWORK = re.compile(r"boost/(asio|beast)|openssl/|libpq|sys/(socket|un|epoll|eventfd|timerfd|select|poll)\.h"
                     r"|netinet/|arpa/|netdb\.h|poll\.h|ifaddrs\.h")
POSTGRES = re.compile(r"pg_query|postgres\.h|(access|catalog|commands|nodes|parser|tcop|utils|port|lib|mb|common|storage)/")

# What a layer may include from outside besides the standard library: (files, headers).
EXTERNAL = {
    "protocol": [
        (r".*", r"boost/system/"),
        (r"protocol/http/[^/]+\.cpp$", r"boost/beast/(http|core)/|boost/asio/buffer\.hpp$"),
        # libcrypto only; TLS is a matter of connections.
        (r"protocol/pg/(scram\w*|base64|md5)\.cpp$", r"openssl/(?!ssl|bio)"),
        (r"protocol/pg/saslprep\.cpp$", r"unicode/u|openssl/crypto\.h$"),
    ],
    "config": [
        (r"config/load\.cpp$", r"yaml-cpp/"),
        (r"config/text_file\.cpp$", r"(fcntl\.h|unistd\.h|sys/stat\.h)$"),
        (r"config/name_pattern\.cpp$", r"re2/re2\.h$"),
    ],
    "routing": [
        (r"routing/sql_walk\w*\.c$", POSTGRES.pattern),
        (r"routing/plain_block\.hpp$", r"emmintrin\.h$"),  # the compiler's own
    ],
}
# proxy may include what it likes, except what has its one place elsewhere.
ELSEWHERE = re.compile(r"yaml-cpp/|re2/|doctest|pg_query|postgres\.h$")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = (".hpp", ".cpp", ".h", ".c", ".inc")
COUNTED = (".hpp", ".cpp", ".h", ".c", ".py")


class Tree:
    """All sources below a root, with their includes."""

    def __init__(self, root):
        self.root = root
        self.top = sorted(os.listdir(root))
        self.lines = {}
        for folder in sorted(TOP_FOLDERS):
            for where, folders, names in os.walk(os.path.join(root, folder)):
                folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in ("build", "__pycache__", "node_modules"))
                for name in sorted(names):
                    if name.endswith(SOURCES + COUNTED):
                        path = os.path.join(where, name)
                        with open(path, encoding="utf-8", errors="replace") as text:
                            self.lines[os.path.relpath(path, root)] = text.read().splitlines()
        self.includes = {path: [] for path in self.lines if path.endswith(SOURCES)}
        for path, found in self.includes.items():
            for number, line in enumerate(self.lines[path], 1):
                match = INCLUDE.match(line)
                if match:
                    found.append((number, match.group(1) == '"', match.group(2)))

    def layer(self, path):
        return path.split("/", 1)[0]

    def is_ours(self, target):
        return target in self.lines or target.split("/", 1)[0] in LAYERS + ("tests",) and "/" in target


def ours_from_the_root(tree, path):
    """Includes of ours name their folder, exist, and go only where the layer may."""
    may = re.compile(OURS[tree.layer(path)] or r"(?!)")
    for number, quoted, target in tree.includes[path]:
        if not tree.is_ours(target):
            if quoted and not POSTGRES.match(target):
                yield number, f'"{target}" is not in the tree: write includes of ours from the root, others in <>'
        elif not quoted:
            yield number, f'<{target}> is ours: write it as "{target}"'
        elif target not in tree.lines:
            yield number, f'"{target}" does not exist'
        elif not may.match(target):
            yield number, f"{tree.layer(path)} may not include {target}"


def externals(tree, path):
    """What comes from outside is what the layer may know."""
    layer = tree.layer(path)
    if layer in ("tests", "deploy"):
        return
    for number, _, target in tree.includes[path]:
        if tree.is_ours(target):
            continue
        if layer == "proxy":
            if ELSEWHERE.match(target):
                yield number, f"proxy may not include <{target}>"
            continue
        allowed = any(re.match(files, path) and re.match(headers, target) for files, headers in EXTERNAL[layer])
        if THREADS.match(target):
            yield number, f"{layer} may not include <{target}>: threads belong to proxy"
        elif allowed or CPP_STANDARD.match(target) or (path.endswith((".c", ".h")) and C_STANDARD.match(target)):
            continue
        elif NETWORK.match(target):
            yield number, f"{layer} may not include <{target}>: I/O belongs to proxy"
        else:
            yield number, f"{layer} may not include <{target}>"


def pure_core(tree, path):
    """A *_core file includes nothing of I/O or threads, not even through a header of ours."""
    if tree.layer(path) != "proxy" or not re.search(r"_core\.\w+$", path):
        return
    seen = {path}
    todo = [(path, None, [])]
    while todo:
        current, first, way = todo.pop()
        for number, _, target in tree.includes.get(current, []):
            line = first or number
            if target in tree.includes:
                if target not in seen:
                    seen.add(target)
                    todo.append((target, line, way + [target]))
            elif NETWORK.match(target) or THREADS.match(target):
                through = f" through {' -> '.join(way)}" if way else ""
                yield line, f"a core may not include <{target}>{through}"


def guarded(tree, path):
    if path.endswith(".hpp") and "#pragma once" not in tree.lines[path]:
        yield 1, "no #pragma once"


def short(tree, path):
    if not path.endswith(COUNTED):
        return
    lines = tree.lines[path]
    if any(re.search(r"\bgenerated (by|from)\b", line, re.IGNORECASE) for line in lines[:5]):
        return
    longest = LONGEST_TEST if path.startswith("tests/") else LONGEST
    if len(lines) > longest and path not in EXEMPT:
        yield longest + 1, f"{len(lines)} lines: split it, {longest} are the most"


def top_level(tree):
    for name in tree.top:
        # Dotfiles and build folders are nobody's layer.
        if name.startswith(".") or re.match(r"build", name):
            continue
        known = TOP_FOLDERS if os.path.isdir(os.path.join(tree.root, name)) else TOP_FILES
        yield name, name in known


def check(root):
    """(number of checks passed, breaches)"""
    tree = Tree(root)
    passed, breaches = 0, []
    for name, known in top_level(tree):
        if known:
            passed += 1
        else:
            breaches.append(f"{name}: does not belong at the top level")
    for path in sorted(tree.lines):
        rules = [short]
        if path in tree.includes:
            rules += [ours_from_the_root, externals, pure_core, guarded]
        for rule in rules:
            found = [f"{path}:{line}: {message}" for line, message in rule(tree, path)]
            breaches += found
            passed += not found
    return passed, breaches


CLEAN = {
    "CMakeLists.txt": "", "README.md": "", ".gitignore": "", "build/x.cpp": '#include "nowhere.hpp"\n',
    "protocol/pg/frame.hpp": "#pragma once\n#include <boost/system/result.hpp>\n#include <cstddef>\n",
    "protocol/pg/scram.cpp": '#include "protocol/pg/frame.hpp"\n#include <openssl/evp.h>\n',
    "protocol/pg/saslprep.cpp": "#include <unicode/usprep.h>\n",
    "protocol/http/head.cpp": "#include <boost/beast/http/basic_parser.hpp>\n",
    "config/model.hpp": "#pragma once\n#include <string>\n",
    "config/load.hpp": '#pragma once\n#include "config/model.hpp"\n',
    "config/load.cpp": '#include "config/load.hpp"\n#include <yaml-cpp/parser.h>\n',
    "routing/policy.hpp": '#pragma once\n#include "config/model.hpp"\n',
    "routing/sql_walk.c": '#include "postgres.h"\n#include <pg_query.h>\n#include <string.h>\n',
    "proxy/socket.hpp": "#pragma once\n#include <boost/asio/io_context.hpp>\n#include <sys/socket.h>\n#include <thread>\n",
    "proxy/facts.hpp": '#pragma once\n#include "routing/policy.hpp"\n',
    "proxy/session_core.cpp": '#include "proxy/facts.hpp"\n#include "protocol/pg/frame.hpp"\n',
    "proxy/session.cpp": '#include "proxy/socket.hpp"\n#include "config/load.hpp"\n#include <libpq-fe.h>\n',
    "routing/table.inc": '"x",\n' * 900,
    "routing/table.cpp": "// Generated by make_table.sh\n" + "\n" * 900,
    "tests/unit/policy_test.cpp": '#include "routing/policy.hpp"\n#include <doctest/doctest.h>\n',
}

BREACHES = [  # file, content, what must be said about it; nothing else may be
    ("protocol/a.cpp", '#include "config/model.hpp"\n', "a.cpp:1: protocol may not include config/model.hpp"),
    ("config/a.cpp", '#include "routing/policy.hpp"\n', "config may not include routing/policy.hpp"),
    ("routing/a.cpp", '\n#include "config/load.hpp"\n', "a.cpp:2: routing may not include config/load.hpp"),
    ("routing/a.cpp", '#include "protocol/pg/frame.hpp"\n', "routing may not include protocol/pg/frame.hpp"),
    ("routing/a.cpp", '#include "proxy/facts.hpp"\n', "routing may not include proxy/facts.hpp"),
    ("proxy/a.cpp", '#include "facts.hpp"\n', '"facts.hpp" is not in the tree'),
    ("proxy/a.cpp", '#include "proxy/gone.hpp"\n', '"proxy/gone.hpp" does not exist'),
    ("proxy/a.cpp", "#include <routing/policy.hpp>\n", "is ours"),
    ("proxy/a.cpp", '#include "tests/unit/policy_test.cpp"\n', "proxy may not include tests/unit/policy_test.cpp"),
    ("proxy/a.cpp", "#include <yaml-cpp/yaml.h>\n", "proxy may not include <yaml-cpp/yaml.h>"),
    ("proxy/a.cpp", "#include <pg_query.h>\n", "proxy may not include <pg_query.h>"),
    ("config/validate.cpp", "#include <yaml-cpp/yaml.h>\n", "config may not include <yaml-cpp/yaml.h>"),
    ("config/a.cpp", "#include <fcntl.h>\n", "config may not include <fcntl.h>"),
    ("routing/a.cpp", "#include <pg_query.h>\n", "routing may not include <pg_query.h>"),
    ("routing/a.cpp", "#include <mutex>\n", "threads belong to proxy"),
    ("routing/a.cpp", "#include <spdlog/spdlog.h>\n", "routing may not include <spdlog/spdlog.h>"),
    ("protocol/a.cpp", "  #  include <sys/socket.h>\n", "I/O belongs to proxy"),
    ("protocol/a.cpp", "#include <boost/asio/buffer.hpp>\n", "I/O belongs to proxy"),
    ("protocol/http/head.hpp", "#pragma once\n#include <boost/beast/http/basic_parser.hpp>\n", "I/O belongs to proxy"),
    ("protocol/pg/scram.cpp", "#include <openssl/ssl.h>\n", "I/O belongs to proxy"),
    ("protocol/pg/frame.cpp", "#include <openssl/evp.h>\n", "I/O belongs to proxy"),
    ("protocol/pg/frame.cpp", "#include <unicode/ustring.h>\n", "protocol may not include <unicode/ustring.h>"),
    ("proxy/a_core.cpp", "#include <boost/asio/buffer.hpp>\n", "a core may not include <boost/asio/buffer.hpp>"),
    ("proxy/a_core.hpp", "#pragma once\n#include <libpq-fe.h>\n", "a core may not include <libpq-fe.h>"),
    ("proxy/a_core.cpp", '#include "proxy/socket.hpp"\n', "a core may not include <thread> through proxy/socket.hpp"),
    ("proxy/a.hpp", "\n", "no #pragma once"),
    ("proxy/a.cpp", "\n" * 451, "451 lines"),
    ("tests/a.py", "\n" * 701, "701 lines"),
    ("src/a.cpp", "", "src: does not belong at the top level"),
    ("notes.txt", "", "notes.txt: does not belong at the top level"),
    ("include", "", "include: does not belong at the top level"),
]


def run_on(files):
    with tempfile.TemporaryDirectory() as root:
        for path, content in files.items():
            whole = os.path.join(root, path)
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            with open(whole, "w", encoding="utf-8") as out:
                out.write(content)
        return check(root)


def self_test():
    passed, failed = 0, 0
    cases = [(None, None, None)] + BREACHES
    for path, content, expected in cases:
        files = dict(CLEAN)
        if path:
            files[path] = content
        _, found = run_on(files)
        # A header may break several rules of one kind (a core reaching Asio, sockets and threads): one file is to blame.
        right = (not found) if path is None else (
            any(expected in f for f in found) and all(f.startswith(path) or f.startswith(path.split("/")[0] + ":") for f in found))
        passed += right
        failed += not right
        if not right:
            print(f"{path or 'the clean tree'}: expected {expected or 'nothing'}, found {found}")
    return passed, failed


def main(arguments):
    if arguments == ["--self-test"]:
        passed, failed = self_test()
    elif len(arguments) == 1 and os.path.isdir(arguments[0]):
        passed, breaches = check(arguments[0])
        failed = len(breaches)
        for breach in breaches:
            print(breach)
    else:
        print(__doc__)
        return 2
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
