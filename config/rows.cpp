#include "config/rows.hpp"

#include "config/duration.hpp"
#include "config/endpoint.hpp"
#include "config/fields.hpp"
#include "config/issue.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>

namespace lull::config {
namespace {

std::string joined(std::vector<std::string> const& parts) {
    std::string out;
    for (auto const& part : parts) out += (out.empty() ? "" : ", ") + part;
    return out;
}

/// Visits a const configuration and writes rows.
class row_writer {
  public:
    explicit row_writer(bool describing) : describing_(describing) {}

    std::vector<row> take() { return std::move(rows_); }

    template <class E>
    requires std::is_enum_v<E>
    void field(std::string_view key, E const& value, spec const& s) {
        std::vector<std::string> names;
        std::string chosen;
        for (auto const& c : choices_of(value)) {
            names.emplace_back(c.name);
            if (c.value == value) chosen = c.name;
        }
        add(key, s, "one of " + joined(names), chosen);
    }

    void flag(std::string_view key, bool const& value, std::string_view yes, std::string_view no,
              spec const& s) {
        add(key, s, "one of " + std::string(yes) + ", " + std::string(no), std::string(value ? yes : no));
    }

    void field(std::string_view key, std::string const& value, spec const& s) {
        if (!s.secret) return add(key, s, "text", value.empty() ? "" : yaml_text(value));
        add(key, s, "secret", value);
        if (!describing_) return;
        auto file = s;
        file.secret = false;
        file.note = "none";
        file.about =
            "The same from a file, without the newline at its end; a relative path begins at the "
            "configuration's folder.";
        add(s.file_key, file, "path", "");
    }

    void field(std::string_view key, std::size_t const& value, spec const& s) {
        add(key, s, s.bytes ? "size" : "number", s.bytes ? format_size(value) : std::to_string(value));
    }
    void field(std::string_view key, milliseconds const& value, spec const& s) {
        add(key, s, "duration", format_duration(value));
    }
    void field(std::string_view key, endpoint const& value, spec const& s) {
        add(key, s, "address", address(value));
    }
    void field(std::string_view key, std::optional<endpoint> const& value, spec const& s) {
        add(key, s, "address", value ? address(*value) : "");
    }
    template <class T>
    void field(std::string_view key, std::optional<T> const& value, spec const& s) {
        T const nothing{};
        field(key, value ? *value : nothing, s);
        if (!value) rows_.back().value.clear();
    }
    void field(std::string_view key, std::vector<std::string> const& value, spec const& s) {
        std::vector<std::string> items;
        for (auto const& item : value) items.push_back(yaml_text(item));
        add(key, s, "list of texts", list_text(items, s));
    }
    void field(std::string_view key, std::vector<endpoint> const& value, spec const& s) {
        std::vector<std::string> items;
        for (auto const& item : value) items.push_back(address(item));
        add(key, s, "list of addresses", list_text(items, s));
    }

    template <class Fn>
    void section(std::string_view key, Fn fn) {
        path_.emplace_back(key);
        fn();
        path_.pop_back();
    }

    template <class T, class Fn>
    void optional_section(std::string_view key, std::optional<T> const& value, std::string_view about,
                          Fn fn) {
        if (!value && !describing_) return;
        if (describing_) add(key, spec{.about = about, .note = "none"}, "settings", "");
        section(key, [&] {
            T const element = value ? *value : T{};
            fn(element);
            ;
        });
    }

    template <class T, class Fn>
    void named(std::string_view key, std::map<std::string, T> const& elements, std::string_view about,
               name_kind, Fn fn) {
        if (describing_) add(key, spec{.about = about, .note = "none"}, "settings by name", "");
        section(key, [&] {
            if (describing_)
                return section("*", [&] {
                    T const element;
                    fn(element);
                });
            for (auto const& entry : elements) {
                section(entry.first, [&] {
                    row r;
                    r.segments = path_;
                    r.element = true;
                    rows_.push_back(std::move(r));
                    fn(entry.second);
                });
            }
        });
    }

    template <class T, class Fn>
    void list(std::string_view key, std::vector<T> const& elements, std::string_view about, Fn fn) {
        std::vector<std::string> items;
        for (auto const& element : elements) {
            row_writer inner(false);
            fn(element, inner);
            std::vector<std::string> pairs;
            for (auto const& r : inner.rows_)
                if (!r.value.empty()) pairs.push_back(r.segments.back() + ": " + r.value);
            items.push_back("{" + joined(pairs) + "}");
        }
        row_writer of_one(false);
        T const one;
        fn(one, of_one);
        bool const restart = std::ranges::all_of(of_one.rows_, &row::restart);
        add(key, spec{.about = about, .restart = restart}, "list of settings", "[" + joined(items) + "]");
        if (!describing_) return;
        auto const first = rows_.size();
        section(std::string(key) + "[]", [&] {
            T const element;
            fn(element, *this);
        });
        for (auto i = first; i < rows_.size(); ++i) rows_[i].in_list = true;
    }

  private:
    static std::string address(endpoint const& e) {
        if (e.port == 0) return {};  // not set: only in the template that describe_keys walks
        return yaml_text(format_endpoint(e));
    }

    static std::string list_text(std::vector<std::string> const& items, spec const& s) {
        // An empty list that means something else than nothing is left out, so that it keeps that meaning.
        return items.empty() && !s.note.empty() ? "" : "[" + joined(items) + "]";
    }

    void add(std::string_view key, spec const& s, std::string type, std::string value) {
        row r;
        r.segments = path_;
        r.segments.emplace_back(key);
        r.value = std::move(value);
        r.type = std::move(type);
        r.about = s.about;
        r.note = s.note;
        r.required = s.required;
        r.restart = s.restart;
        r.at_login = s.at_login;
        r.secret = s.secret;
        rows_.push_back(std::move(r));
    }

    bool describing_;
    std::vector<std::string> path_;
    std::vector<row> rows_;
};

}  // namespace

std::vector<row> rows_of(config const& c, bool describing) {
    row_writer writer(describing);
    visit(c, writer);
    return writer.take();
}

std::string path_of(row const& r) {
    std::string out;
    for (auto const& segment : r.segments)
        out = r.in_list && segment.ends_with("[]") ? out + "." + segment : join_path(out, segment);
    return out;
}

std::string yaml_text(std::string_view text) {
    auto const plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("_./-:$").find(c) != std::string_view::npos;
    };
    // ~ and null are nothing to YAML; the rest of what it gives a meaning begins with a byte that is not
    // plain here, or has a colon at its end.
    bool const reads_back = !text.empty() && std::all_of(text.begin(), text.end(), plain) &&
                            text.back() != ':' &&
                            std::string_view("-.:").find(text.front()) == std::string_view::npos &&
                            text != "null" && text != "Null" && text != "NULL";
    if (reads_back) return std::string(text);
    constexpr char hex[] = "0123456789abcdef";
    std::string out = "\"";
    for (char c : text) {
        auto const byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F) {
            out += "\\x";
            out += hex[byte >> 4];
            out += hex[byte & 15];
        } else {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
    }
    return out + "\"";
}

}  // namespace lull::config
