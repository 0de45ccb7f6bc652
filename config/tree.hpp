// A YAML document as values with places: what load.cpp makes of the text and reader.cpp reads. Nodes behind
// aliases are shared, never copied; parse_tree bounds depth and expanded size, so that walking one is bounded
// too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace lull::config {

struct node {
    enum class form : std::uint8_t { empty, text, list, map };

    form is = form::empty;
    int line = 0;
    int column = 0;
    std::string text;
    std::vector<std::shared_ptr<node const>> items;
    std::vector<std::pair<std::shared_ptr<node const>, std::shared_ptr<node const>>>
        entries;               // keys are text
    std::size_t expanded = 1;  // nodes in it, those behind aliases counted each time
    std::size_t height = 1;
};

}  // namespace lull::config
