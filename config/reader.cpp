#include "config/reader.hpp"

#include "config/duration.hpp"
#include "config/endpoint.hpp"
#include "config/fields.hpp"
#include "config/print.hpp"
#include "config/text_file.hpp"
#include "config/walker.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

namespace lull::config {
namespace {

constexpr std::size_t most_secret_bytes = 64 * 1024;

/// What a place that expects `least` to `most` says.
std::string bounds(spec const& s, std::string (*format)(std::uint64_t)) {
    if (s.most == UINT64_MAX) return "at least " + format(s.least);
    return "from " + format(s.least) + " to " + format(s.most);
}

std::string format_count(std::uint64_t n) {
    return std::to_string(n);
}
std::string format_bytes(std::uint64_t n) {
    return format_size(static_cast<std::size_t>(n));
}
std::string format_time(std::uint64_t n) {
    return format_duration(milliseconds(static_cast<milliseconds::rep>(n)));
}

/// Walks fields.hpp beside a tree.
class reader : private walker {
  public:
    reader(std::string const& file, std::string folder) : walker(file), folder_(std::move(folder)) {}

    read_result read(node const& root) && {
        if (root.is == node::form::empty) {
            complain(root, "", "the file is empty",
                     "begin with listen, clusters and sites, as in deploy/lull.yaml");
        } else if (enter(root, "")) {
            visit(out_.value, *this);
            leave();
        }
        out_.value.file = out_.positions.file;
        return std::move(out_);
    }

    template <class E>
    requires std::is_enum_v<E>
    void field(std::string_view key, E& value, spec const& s) {
        std::string path;
        auto const* n = scalar(key, s, path);
        if (!n) return;
        std::vector<std::string_view> names;
        for (auto const& c : choices_of(value)) {
            if (c.name == n->text) {
                value = c.value;
                return;
            }
            names.push_back(c.name);
        }
        not_a_choice(*n, path, names);
    }

    void flag(std::string_view key, bool& value, std::string_view yes, std::string_view no, spec const& s) {
        std::string path;
        auto const* n = scalar(key, s, path);
        if (!n) return;
        std::string_view typed = n->text;
        if (yes == "true") {
            // PostgreSQL takes these too, and YAML 1.1 did.
            for (std::string_view other : {"on", "yes", "True", "TRUE"})
                if (typed == other) typed = yes;
            for (std::string_view other : {"off", "no", "False", "FALSE"})
                if (typed == other) typed = no;
        }
        if (typed != yes && typed != no) return not_a_choice(*n, path, {yes, no});
        value = typed == yes;
    }

    void field(std::string_view key, std::string& value, spec const& s) {
        if (s.secret) return secret(key, value, s);
        std::string path;
        auto const* n = scalar(key, s, path);
        if (!n || !fits(*n, path, s)) return;
        value = s.path ? (std::filesystem::path(folder_) / n->text).string() : n->text;
    }

    void field(std::string_view key, std::size_t& value, spec const& s) {
        std::string path;
        auto const* n = scalar(key, s, path);
        if (!n) return;
        std::uint64_t number = 0;
        if (s.bytes) {
            auto size = parse_size(n->text);
            if (auto* e = std::get_if<unit_error>(&size)) return complain(*n, path, e->message, e->fix);
            number = std::get<std::size_t>(size);
        } else {
            auto const& t = n->text;
            auto const [end, error] = std::from_chars(t.data(), t.data() + t.size(), number);
            bool const digits =
                !t.empty() && std::all_of(t.begin(), t.end(), [](char c) { return c >= '0' && c <= '9'; });
            if (!digits)
                return complain(*n, path, shown(t) + " is not a whole number",
                                "write a number " + bounds(s, format_count));
            if (error != std::errc{}) number = UINT64_MAX;
        }
        if (in_range(*n, path, number, s, s.bytes ? format_bytes : format_count))
            value = static_cast<std::size_t>(number);
    }

    void field(std::string_view key, milliseconds& value, spec const& s) {
        std::string path;
        auto const* n = scalar(key, s, path);
        if (!n) return;
        auto time = parse_duration(n->text);
        if (auto* e = std::get_if<unit_error>(&time)) return complain(*n, path, e->message, e->fix);
        auto const parsed = std::get<milliseconds>(time);
        if (in_range(*n, path, static_cast<std::uint64_t>(parsed.count()), s, format_time)) value = parsed;
    }

    void field(std::string_view key, endpoint& value, spec const& s) {
        std::string path;
        if (auto const* n = scalar(key, s, path)) address(*n, path, value, s);
    }

    void field(std::string_view key, std::optional<endpoint>& value, spec const& s) {
        std::string path;
        auto const* n = scalar(key, s, path);
        endpoint parsed;
        if (n && address(*n, path, parsed, s)) value = parsed;
    }

    template <class T>
    void field(std::string_view key, std::optional<T>& value, spec const& s) {
        if (!open_map().index.contains(key)) {
            std::string path;
            ask(key, path);  // so that it is known
            return;
        }
        field(key, value.emplace(), s);
    }

    void field(std::string_view key, std::vector<std::string>& value, spec const& s) {
        each(key, [&](node const& n, std::string const& path) {
            if (is_text(n, path, s.example) && fits(n, path, s)) value.push_back(n.text);
        });
    }

    void field(std::string_view key, std::vector<endpoint>& value, spec const& s) {
        each(key, [&](node const& n, std::string const& path) {
            endpoint parsed;
            if (is_text(n, path, s.example) && address(n, path, parsed, s)) value.push_back(parsed);
        });
    }

    template <class Fn>
    void section(std::string_view key, Fn fn) {
        std::string path;
        auto const* n = ask(key, path);
        if (!n || !enter(*n, path)) return;
        fn();
        leave();
    }

    template <class T, class Fn>
    void optional_section(std::string_view key, std::optional<T>& value, std::string_view, Fn fn) {
        std::string path;
        auto const* n = ask(key, path);
        if (!n || !enter(*n, path)) return;
        fn(value.emplace());
        leave();
    }

    template <class T, class Fn>
    void named(std::string_view key, std::map<std::string, T>& into, std::string_view, name_kind kind,
               Fn fn) {
        std::string path;
        auto const* n = ask(key, path);
        if (!n || !enter(*n, path)) return;
        open_map().any_key = true;
        for (auto const& [name, child] : n->entries) {
            if (full()) break;
            // Said already: the key given twice. The first one counts.
            if (into.contains(name->text) || !name_fits(*name, path, kind)) continue;
            auto const inner = join_path(path, name->text);
            out_.positions.at[inner] = {name->line, name->column};
            auto& element = into[name->text];
            element.name = name->text;
            if (!enter(*child, inner)) continue;
            fn(element);
            leave();
        }
        leave();
    }

    template <class T, class Fn>
    void list(std::string_view key, std::vector<T>& into, std::string_view, Fn fn) {
        each(key, [&](node const& n, std::string const& path) {
            if (!enter(n, path)) return;
            fn(into.emplace_back(), *this);
            leave();
        });
    }

  private:
    node const* scalar(std::string_view key, spec const& s, std::string& path) {
        if (auto const* n = ask(key, path)) return is_text(*n, path, s.example) ? n : nullptr;
        if (s.required)
            complain(
                place_of_open_map(), path, std::string(key) + " is missing",
                "add `" + std::string(key) + ": " + std::string(s.example.empty() ? "..." : s.example) + "`");
        return nullptr;
    }

    bool fits(node const& n, std::string const& path, spec const& s) {
        if (n.text.empty()) {
            complain(n, path, "an empty text", "write a value, or remove the line to have the default");
        } else if (n.text.size() > s.longest) {
            complain(n, path, "longer than " + std::to_string(s.longest) + " bytes", "shorten it");
        } else if (n.text.find('\0') != std::string::npos) {
            complain(n, path, "a NUL byte", "remove it: neither PostgreSQL nor HTTP can carry it");
        } else {
            return true;
        }
        return false;
    }

    bool in_range(node const& n, std::string const& path, std::uint64_t number, spec const& s,
                  std::string (*format)(std::uint64_t)) {
        if (number >= s.least && number <= s.most) return true;
        complain(n, path, shown(n.text) + " is out of range", "write a value " + bounds(s, format));
        return false;
    }

    bool address(node const& n, std::string const& path, endpoint& value, spec const& s) {
        auto parsed =
            parse_endpoint(n.text, s.example, s.path ? endpoint_kind::tcp_or_unix : endpoint_kind::tcp);
        if (auto* e = std::get_if<endpoint_error>(&parsed)) {
            complain(n, path, e->message, e->fix);
            return false;
        }
        value = std::get<endpoint>(std::move(parsed));
        return true;
    }

    bool name_fits(node const& name, std::string const& path, name_kind kind) {
        auto const& t = name.text;
        bool const word = std::all_of(t.begin(), t.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                   c == '-';
        });
        if (t.empty() || t.size() > longest_name || t.find('\0') != std::string::npos) {
            complain(name, path, shown(t) + " is not a name", "a name has 1 to 63 bytes");
        } else if (kind == name_kind::word && (!word || t.front() == '-')) {
            complain(name, path, shown(t) + " is not a name",
                     "use letters, digits, _ and -: it is also part of commands and addresses (databases and "
                     "hosts may be called "
                     "otherwise: list them under databases and hosts)");
        } else {
            return true;
        }
        return false;
    }

    /// A list, or one element where a list of one is meant.
    template <class Fn>
    void each(std::string_view key, Fn fn) {
        std::string path;
        auto const* n = ask(key, path);
        if (!n) return;
        if (n->is == node::form::empty)
            return complain(*n, path, "expected a list, found nothing",
                            "write [] for none, or remove the line to have the default");
        if (n->is != node::form::list) return fn(*n, path);
        for (std::size_t i = 0; i < n->items.size() && !full(); ++i) {
            auto const& item = *n->items[i];
            auto const inner = path + "[" + std::to_string(i) + "]";
            out_.positions.at[inner] = {item.line, item.column};
            fn(item, inner);
        }
    }

    void secret(std::string_view key, std::string& value, spec const& s) {
        std::string path;
        std::string file_path;
        auto const* inline_text = scalar(key, s, path);
        bool const both = open_map().index.contains(key);
        auto const* file = scalar(s.file_key, spec{}, file_path);
        if (file && both) {
            complain(*file, file_path, "given beside " + std::string(key), "keep one of the two");
        } else if (file) {
            from_file(*file, file_path, value, s);
        } else if (inline_text && fits(*inline_text, path, s)) {
            value = inline_text->text;
            if (out_.inline_secret.empty()) out_.inline_secret = path;
            if (value == redacted)
                warn(*inline_text, path,
                     "this is the mask that a printed configuration has in place of a secret",
                     "write the secret itself");
        }
    }

    void from_file(node const& n, std::string const& path, std::string& value, spec const& s) {
        auto const name = (std::filesystem::path(folder_) / n.text).string();
        auto content = read_text_file(name, most_secret_bytes);
        if (auto* e = std::get_if<file_error>(&content))
            return complain(n, path, name + ": " + e->message, e->fix);
        auto& secret_file = std::get<text_file>(content);
        auto& bytes = secret_file.bytes;
        if (bytes.ends_with('\n')) bytes.pop_back();
        if (bytes.ends_with('\r')) bytes.pop_back();
        if (bytes.empty())
            return complain(n, path, name + ": it is empty", "write the secret into it, on one line");
        if (bytes.find_first_of(std::string_view("\0\n\r", 3)) != std::string::npos)
            return complain(n, path, name + ": it has more than one line",
                            "keep the secret alone in it, on one line");
        if (bytes.size() > s.longest)
            return complain(n, path, name + ": longer than " + std::to_string(s.longest) + " bytes",
                            "check that it is the right file");
        if (secret_file.others_may_read)
            warn(n, path, name + ": every user of this machine can read this secret", "chmod 0640 " + name);
        value = std::move(bytes);
    }

    std::string folder_;
};

}  // namespace

read_result read_tree(node const& root, std::string const& file, std::string const& folder) {
    return reader(file, folder).read(root);
}

}  // namespace lull::config
