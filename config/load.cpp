#include "config/load.hpp"

#include "config/hba.hpp"
#include "config/reader.hpp"
#include "config/text_file.hpp"
#include "config/tree.hpp"
#include "config/validate.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace lull::config {
namespace {

constexpr std::size_t most_bytes = 1024 * 1024;
constexpr std::size_t most_nodes = 200'000;
constexpr std::size_t most_depth = 32;

/// Right behind the last byte that is not a newline.
position end_of(std::string_view text) {
    while (text.ends_with('\n')) text.remove_suffix(1);
    auto const last = text.rfind('\n');
    return {static_cast<int>(std::count(text.begin(), text.end(), '\n')) + 1,
            static_cast<int>(text.size() - (last == std::string_view::npos ? 0 : last + 1)) + 1};
}

/// What is missed at the end is missed at `end`, not in the end marker that the text was given.
position place_of(YAML::Mark const& mark, position end) {
    if (mark.is_null()) return {1, 1};
    return mark.line < end.line ? position{mark.line + 1, mark.column + 1} : end;
}

/// Thrown by the handler below through yaml-cpp, which knows no other way to be stopped; caught in
/// parse_tree.
struct refused {
    position at;
    std::string message;
    std::string fix;
};

/// Builds the tree from yaml-cpp's events: its own Node would expand nothing, but also tell nothing about
/// keys given twice, and recurse as deep as the text wants.
class tree_builder final : public YAML::EventHandler {
  public:
    explicit tree_builder(position end) : end_(end) {}

    std::shared_ptr<node const> root;

    void OnDocumentStart(YAML::Mark const& mark) override {
        if (root)
            throw refused{place_of(mark, end_), "a second document begins here",
                          "keep one document: remove the line with --- and what follows it"};
    }
    void OnDocumentEnd() override {}

    void OnNull(YAML::Mark const& mark, YAML::anchor_t anchor) override {
        auto nothing = made(mark, node::form::empty);
        // yaml-cpp notices only at what follows; what lacks its value is the key.
        if (!open_.empty() && open_.back().key) {
            nothing->line = open_.back().key->line;
            nothing->column = open_.back().key->column;
        } else if (open_.empty()) {
            nothing->line = nothing->column = 1;
        }
        done(std::move(nothing), anchor, mark);
    }

    void OnAlias(YAML::Mark const& mark, YAML::anchor_t anchor) override {
        auto const found = anchors_.find(anchor);
        if (found == anchors_.end())
            throw refused{place_of(mark, end_), "an alias inside of what it stands for",
                          "write the value itself"};
        if (open_.size() + found->second->height > most_depth) throw too_deep(mark);
        done(found->second, YAML::NullAnchor, mark);
    }

    void OnScalar(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor,
                  std::string const& value) override {
        refuse_tag(mark, tag);
        auto scalar = made(mark, node::form::text);
        scalar->text = value;
        done(std::move(scalar), anchor, mark);
    }

    void OnSequenceStart(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(mark, tag, anchor, node::form::list);
    }
    void OnSequenceEnd() override { close(); }

    void OnMapStart(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(mark, tag, anchor, node::form::map);
    }
    void OnMapEnd() override { close(); }

  private:
    struct level {
        std::shared_ptr<node> what;
        YAML::anchor_t anchor;
        YAML::Mark mark;
        std::shared_ptr<node const> key;  // of a map: read, its value is still to come
    };

    refused too_deep(YAML::Mark const& mark) const {
        return {place_of(mark, end_), "nested more than " + std::to_string(most_depth) + " deep",
                "no setting of lull is deeper than five levels: check indentation and brackets"};
    }

    void refuse_tag(YAML::Mark const& mark, std::string const& tag) const {
        // "?" and "!" are yaml-cpp's own for plain and quoted.
        if (tag.empty() || tag == "?" || tag == "!") return;
        throw refused{place_of(mark, end_), "the tag " + shown(tag),
                      "remove it; put a value that begins with ! in quotes"};
    }

    std::shared_ptr<node> made(YAML::Mark const& mark, node::form form) const {
        auto out = std::make_shared<node>();
        out->is = form;
        auto const at = place_of(mark, end_);
        out->line = at.line;
        out->column = at.column;
        return out;
    }

    void open(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor, node::form form) {
        refuse_tag(mark, tag);
        if (open_.size() + 1 >= most_depth) throw too_deep(mark);
        open_.push_back({made(mark, form), anchor, mark, nullptr});
    }

    void close() {
        auto const top = std::move(open_.back());
        open_.pop_back();
        done(top.what, top.anchor, top.mark);
    }

    /// `child` is complete: it belongs to whatever is open now.
    void done(std::shared_ptr<node const> child, YAML::anchor_t anchor, YAML::Mark const& mark) {
        if (anchor != YAML::NullAnchor) anchors_[anchor] = child;
        if (open_.empty()) {
            root = std::move(child);
            return;
        }
        auto& parent = open_.back();
        auto& into = *parent.what;
        // Counted here and not at the end, so that aliases of aliases cannot multiply for free.
        into.expanded += child->expanded;
        if (into.expanded > most_nodes)
            throw refused{
                mark.line + 1, mark.column + 1,
                "more than " + std::to_string(most_nodes) + " values, those behind aliases counted each time",
                "use fewer aliases"};
        into.height = std::max(into.height, child->height + 1);
        if (into.is == node::form::list) {
            into.items.push_back(std::move(child));
        } else if (!parent.key) {
            if (child->is != node::form::text)
                throw refused{place_of(mark, end_), "a key that is not a text",
                              "write `key: value`; a key stands before its colon on one line"};
            parent.key = std::move(child);
        } else {
            into.entries.emplace_back(std::exchange(parent.key, nullptr), std::move(child));
        }
    }

    position end_;
    std::vector<level> open_;
    std::unordered_map<YAML::anchor_t, std::shared_ptr<node const>> anchors_;
};

/// yaml-cpp says what it stumbled over; this says what to do about it.
std::string syntax_fix(std::string_view message, std::string_view line) {
    // `primary: [::1]:5432` reads as a list and then as nonsense.
    if (line.find("]:") != std::string_view::npos)
        return "put an address with brackets in quotes, as in \"[::1]:5432\"";
    if (line.find('\t') != std::string_view::npos) return "indent with spaces, not with tabs";
    struct hint {
        std::string_view part, fix;
    };
    static constexpr std::array<hint, 13> hints{
        {{"illegal map value",
          "a second `: ` on this line, or a line that is indented too far: put a value that contains `: ` in "
          "quotes"},
         {"end of map not found",
          "this line is indented differently from its neighbours: align it with them"},
         {"end of sequence not found", "begin each item of a list with `- `, all in the same column"},
         {"flow", "a bracket is left open or closed twice: every [ needs its ], every { its }"},
         {"EOF in scalar", "a quote that opens above is not closed"},
         {"document indicator in scalar", "a quote that opens above is not closed"},
         {"illegal character in scalar", "put this value in quotes"},
         {"escape", "in double quotes a backslash is written \\\\; single quotes take it as it is"},
         {"unknown token", "put a value that begins with a special character (@ ` % & * ! |) in quotes"},
         {"anchor is not defined",
          "no `&name` stands before this `*name`; put a value that begins with * in quotes"},
         {"alias", "put a value that begins with * in quotes"},
         {"anchor", "put a value that begins with & in quotes"},
         {"block entry", "a `- ` does not belong here: begin the list on the line below its key"}}};
    for (auto const& h : hints)
        if (message.find(h.part) != std::string_view::npos) return std::string(h.fix);
    return "check indentation, quotes and colons here and on the line above";
}

std::string_view line_of(std::string_view text, int number) {
    for (int i = 0; i < number; ++i) {
        auto const end = text.find('\n');
        if (end == std::string_view::npos) return {};
        text.remove_prefix(end + 1);
    }
    return text.substr(0, text.find('\n'));
}

std::size_t utf8_length(std::string_view rest) {
    auto const byte = [&](std::size_t i) {
        return i < rest.size() ? static_cast<unsigned char>(rest[i]) : 0u;
    };
    auto const tail = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
    unsigned const b = byte(0);
    if (b < 0x80) return 1;
    if (b >= 0xC2 && b <= 0xDF && tail(1)) return 2;
    if ((b & 0xF0) == 0xE0 && tail(1) && tail(2)) {
        bool const too_long = b == 0xE0 && byte(1) < 0xA0;
        bool const surrogate = b == 0xED && byte(1) > 0x9F;
        return too_long || surrogate ? 0 : 3;
    }
    if (b >= 0xF0 && b <= 0xF4 && tail(1) && tail(2) && tail(3)) {
        bool const outside = (b == 0xF0 && byte(1) < 0x90) || (b == 0xF4 && byte(1) > 0x8F);
        return outside ? 0 : 4;
    }
    return 0;
}

/// yaml-cpp replaces what it cannot read by U+FFFD, silently, also inside a password: look first.
std::vector<issue> check_bytes(std::string const& name, std::string_view text) {
    int line = 1;
    std::size_t start = 0;
    for (std::size_t i = 0; i < text.size();) {
        auto const length = utf8_length(text.substr(i));
        auto const c = static_cast<unsigned char>(text[i]);
        bool const control = (c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7F;
        if (length == 0 || control) {
            int const column = static_cast<int>(i - start) + 1;
            if (length == 0) return {{name, line, column, "", "not UTF-8", "save the file as UTF-8"}};
            return {{name, line, column, "", "a control byte",
                     "remove it; in double quotes it can be written as \\xNN"}};
        }
        if (c == '\n') {
            ++line;
            start = i + 1;
        }
        i += length;
    }
    return {};
}

std::variant<std::shared_ptr<node const>, issue> parse_tree(std::string const& name, std::string_view text) {
    auto const end = end_of(text);
    try {
        // The end marker ends what is complete and is an error inside of quotes; without it yaml-cpp takes a
        // quote that is never closed for closed where the file ends.
        std::istringstream in{std::string(text) + "\n...\n"};
        YAML::Parser parser(in);
        tree_builder builder(end);
        // The second call finds the end, or a second document, which the builder refuses.
        while (parser.HandleNextDocument(builder)) {
        }
        return builder.root;
    } catch (refused const& r) {
        return issue{name, r.at.line, r.at.column, "", r.message, r.fix};
    } catch (YAML::Exception const& e) {
        auto const at = place_of(e.mark, end);
        return issue{name,
                     at.line,
                     at.column,
                     "",
                     "not valid YAML: " + e.msg,
                     syntax_fix(e.msg, line_of(text, at.line - 1))};
    } catch (std::exception const& e) {
        // yaml-cpp converts numbers in directives with the standard library, which throws its own.
        return issue{
            name, 1, 1, "", std::string("not valid YAML: ") + e.what(), "remove lines that begin with %"};
    }
}

template <class Finding>
void sort_by_place(std::vector<Finding>& findings) {
    std::stable_sort(findings.begin(), findings.end(), [](Finding const& a, Finding const& b) {
        return std::tie(a.line, a.column) < std::tie(b.line, b.column);
    });
}

/// Whether `judged` only repeats what was said about a key that could not be read: that key, one in it or
/// around it.
bool follows_from(issue const& judged, std::vector<issue> const& read) {
    return std::any_of(read.begin(), read.end(), [&](issue const& r) {
        return r.path.empty() || r.path.starts_with(judged.path) || judged.path.starts_with(r.path);
    });
}

load_result load(std::string const& name, std::string_view text, bool others_may_read,
                 std::vector<warning>* warnings, positions* places = nullptr) {
    if (text.size() > most_bytes)
        return std::vector<issue>{
            {name, 0, 0, "", "it is larger than 1MB", "check that it is the right file"}};
    if (auto issues = check_bytes(name, text); !issues.empty()) return issues;
    auto parsed = parse_tree(name, text);
    if (auto* wrong = std::get_if<issue>(&parsed)) return std::vector<issue>{std::move(*wrong)};
    static node const nothing;
    auto const& root = std::get<std::shared_ptr<node const>>(parsed);
    auto read = read_tree(root ? *root : nothing, name, std::filesystem::path(name).parent_path().string());
    fill_defaults(read.value);
    auto issues = std::move(read.issues);
    auto found = std::move(read.warnings);
    read_hba(read.value, read.positions, issues);
    auto verdict = validate(read.value, read.positions);
    bool const readable = issues.empty();
    std::erase_if(verdict.issues, [&](issue const& judged) { return follows_from(judged, issues); });
    std::move(verdict.issues.begin(), verdict.issues.end(), std::back_inserter(issues));
    if (issues.size() > most_issues) issues.resize(most_issues);
    // Advice about values that were not read would be about the defaults in their place.
    if (readable) std::move(verdict.warnings.begin(), verdict.warnings.end(), std::back_inserter(found));
    if (others_may_read && !read.inline_secret.empty()) {
        auto const at = read.positions.find(read.inline_secret);
        found.push_back({name, at.line, at.column, read.inline_secret,
                         "every user of this machine can read this secret",
                         "chmod 0640 " + name + ", or give the secret as password_file"});
    }
    if (warnings) {
        sort_by_place(found);
        std::move(found.begin(), found.end(), std::back_inserter(*warnings));
    }
    sort_by_place(issues);
    if (!issues.empty()) return issues;
    if (places) *places = std::move(read.positions);
    return std::move(read.value);
}

}  // namespace

load_result load_file(std::string const& path, std::vector<warning>* warnings, positions* places) {
    auto file = read_text_file(path, most_bytes);
    if (auto* error = std::get_if<file_error>(&file))
        return std::vector<issue>{{path, 0, 0, "", error->message, error->fix}};
    auto const& content = std::get<text_file>(file);
    return load(path, content.bytes, content.others_may_read, warnings, places);
}

load_result load_text(std::string_view name, std::string_view text, std::vector<warning>* warnings) {
    return load(std::string(name), text, false, warnings);
}

}  // namespace lull::config
