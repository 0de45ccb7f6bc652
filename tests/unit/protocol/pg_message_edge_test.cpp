#include "protocol/pg/backend.hpp"
#include "protocol/pg/message_edge.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace lull;

TEST_CASE("message edge: however a stream is cut, it is between messages where one ends and nowhere else") {
    std::string stream;
    std::vector<std::size_t> ends{0};
    for (std::string_view const tag : {"", "COPY 1", "a longer tag than all others"}) {
        pg::write_command_complete(stream, tag);
        ends.push_back(stream.size());
        pg::write_bind_complete(stream);  // without a body
        ends.push_back(stream.size());
    }
    for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
        pg::message_edge edge;
        for (std::size_t at = 0; at < stream.size();) {
            std::size_t const n = std::min(piece, stream.size() - at);
            edge.pass(pg::as_bytes(std::string_view(stream).substr(at, n)));
            at += n;
            CHECK(edge.between_messages() == (std::find(ends.begin(), ends.end(), at) != ends.end()));
        }
    }
}

TEST_CASE("message edge: behind an impossible length nobody knows where a message ends") {
    pg::message_edge edge;
    edge.pass(pg::as_bytes(std::string_view("Z\0\0\0\3", 5)));
    CHECK(!edge.between_messages());
    edge.pass(pg::as_bytes(std::string_view("2\0\0\0\4", 5)));
    CHECK(!edge.between_messages());
}
