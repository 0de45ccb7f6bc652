#include "config/hba_lines.hpp"

#include "config/issue.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <utility>

namespace lull::config {
namespace {

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

std::string beside(std::string const& file, std::string_view path) {
    return (std::filesystem::path(file).parent_path() / path).lexically_normal().string();
}

/// A line with those that it goes on in, and where each part of it stands.
struct whole_line {
    std::string text;
    std::vector<std::pair<std::size_t, int>> parts;  // from which byte on, of which line
};

}  // namespace

/// Fields of one line, as PostgreSQL takes them apart: blanks end a field, a comma goes on with it, quotes
/// take all meaning from what is in them, # begins a comment.
class hba_splitter::line_reader {
  public:
    line_reader(hba_splitter& owner, whole_line const& line, std::string const& file, int depth)
        : owner_(owner), line_(line), text_(line.text), file_(file), depth_(depth) {}

    /// Nothing: the line has ended.
    std::optional<hba_field> next() {
        auto first = token();
        if (!first) return std::nullopt;
        hba_field out{{}, first->at};
        for (auto one = std::move(first); one; one = comma_ ? token() : std::nullopt) {
            // "@" alone is a name.
            if (!one->name.quoted && one->name.text.size() > 1 && one->name.text.front() == '@')
                owner_.include_names(std::string_view(one->name.text).substr(1), one->at, depth_, out.tokens);
            else
                out.tokens.push_back(std::move(*one));
            if (owner_.full()) break;
        }
        return out;
    }

  private:
    hba_place place(std::size_t at) const {
        // The last that begins there or before; the first begins at 0.
        auto const part = std::prev(std::upper_bound(line_.parts.begin(), line_.parts.end(), at,
                                                     [](std::size_t byte, auto const& p) { return byte < p.first; }));
        return {&file_, part->second, static_cast<int>(at - part->first) + 1};
    }

    std::optional<hba_token> token() {
        while (at_ < text_.size() && (is_blank(text_[at_]) || text_[at_] == ',')) ++at_;
        comma_ = false;
        if (at_ == text_.size() || text_[at_] == '#') return std::nullopt;
        hba_token out{{}, place(at_)};
        out.name.quoted = text_[at_] == '"';
        bool in_quotes = false;
        bool was_quote = false;  // "" within quotes is one
        for (; at_ < text_.size(); ++at_) {
            char const c = text_[at_];
            if (!in_quotes && (is_blank(c) || c == '#')) break;
            if (!in_quotes && c == ',') {
                comma_ = true;
                ++at_;
                break;
            }
            if (c != '"' || was_quote) out.name.text += c;
            was_quote = in_quotes && c == '"' ? !was_quote : false;
            if (c == '"') in_quotes = !in_quotes;
        }
        if (in_quotes) owner_.complain(out.at, "a quote that is not closed", "close it on the same line");
        return out;
    }

    hba_splitter& owner_;
    whole_line const& line_;
    std::string_view text_;
    std::string const& file_;
    int depth_;
    std::size_t at_ = 0;
    bool comma_ = false;
};

hba_lines hba_splitter::split(std::string_view text, std::string name) {
    hba_lines out;
    name_ = std::move(name);
    split_text(text, name_, 0, out.lines);
    out.problems = std::exchange(problems_, {});
    return out;
}

void hba_splitter::complain(hba_place const& at, std::string message, std::string fix) {
    if (problems_.size() < most_hba_problems)
        problems_.push_back({*at.file, at.line, at.column, std::move(message), std::move(fix)});
}

void hba_splitter::split_text(std::string_view text, std::string const& name, int depth, std::vector<hba_line>& out) {
    bytes_ += text.size();
    if (text.size() > most_hba_bytes || bytes_ > most_hba_bytes_in_all) {
        stopped_ = true;
        return complain({&name, 1, 1}, text.size() > most_hba_bytes ? "it is larger than 1MB" : "all files are larger than 8MB",
                        "check that it is the right file");
    }
    int number = 0;
    while (!text.empty() && !full()) {
        whole_line line;
        // A backslash at the end of a line goes on with the next.
        for (bool more = true; more && !text.empty();) {
            std::size_t const end = std::min(text.find('\n'), text.size());
            std::string_view part = text.substr(0, end);
            text.remove_prefix(std::min(end + 1, text.size()));
            ++number;
            if (part.ends_with('\r')) part.remove_suffix(1);
            more = part.ends_with('\\');
            if (more) part.remove_suffix(1);
            line.parts.push_back({line.text.size(), number});
            line.text += part;
        }
        line_reader in(*this, line, name, depth);
        hba_line fields;
        std::size_t const wrong = problems_.size();
        while (auto field = in.next()) fields.push_back(std::move(*field));
        if (!fields.empty() && problems_.size() == wrong) take(std::move(fields), depth, out);
    }
}

void hba_splitter::take(hba_line line, int depth, std::vector<hba_line>& out) {
    std::string_view const word = line.front().tokens.size() == 1 ? line.front().tokens.front().name.text : std::string_view();
    bool const folder = word == "include_dir";
    if (word != "include" && word != "include_if_exists" && !folder) return out.push_back(std::move(line));
    if (line.size() != 2 || line[1].tokens.size() != 1)
        return complain(line.front().at, std::string(word) + " takes one " + (folder ? "folder" : "file"),
                        "put a name with blanks in quotes");
    hba_token const& what = line[1].tokens.front();
    // Beside a file it would be the folder of that file.
    if (what.name.text.empty())
        return complain(what.at, "an empty name", std::string("name the ") + (folder ? "folder" : "file"));
    std::string const path = beside(*what.at.file, what.name.text);
    if (!folder) return include(path, what.at, depth, word == "include", out);
    if (!may_mention(what.at)) return;
    auto const listed = files_.list(path);
    if (auto const* wrong = std::get_if<file_error>(&listed))
        return complain(what.at, path + ": " + wrong->message, wrong->fix);
    for (std::string const& file : std::get<std::vector<std::string>>(listed)) {
        if (full()) return;
        include(file, what.at, depth, true, out);
    }
}

/// A file without a byte costs time too.
bool hba_splitter::may_mention(hba_place const& at) {
    if (++mentions_ <= most_hba_mentions) return true;
    stopped_ = true;
    complain(at, "files are included more than " + std::to_string(most_hba_mentions) + " times", "merge some");
    return false;
}

void hba_splitter::include(std::string const& path, hba_place const& at, int depth, bool must_exist,
                           std::vector<hba_line>& out) {
    if (depth == deepest_hba_file)
        return complain(at, path + ": maximum nesting depth exceeded",
                        "include at most " + std::to_string(deepest_hba_file) + " files within each other, and none in itself");
    if (!may_mention(at)) return;
    auto known = read_.find(path);
    if (known == read_.end()) {
        if (read_.size() == most_hba_files) {
            stopped_ = true;
            return complain(at, "more than " + std::to_string(most_hba_files) + " files are included", "merge some");
        }
        known = read_.emplace(path, files_.read(path)).first;
    }
    if (auto const* wrong = std::get_if<file_error>(&known->second)) {
        if (!wrong->absent || must_exist) complain(at, path + ": " + wrong->message, wrong->fix);
        return;
    }
    split_text(std::get<std::string>(known->second), known->first, depth + 1, out);
}

void hba_splitter::include_names(std::string_view path, hba_place const& at, int depth, std::vector<hba_token>& out) {
    std::vector<hba_line> lines;
    include(beside(*at.file, path), at, depth, true, lines);
    for (hba_line& line : lines)
        for (hba_field& field : line)
            std::move(field.tokens.begin(), field.tokens.end(), std::back_inserter(out));
}

}  // namespace lull::config
