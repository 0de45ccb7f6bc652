// One client connection and the upstream connection that serves its current request, without sockets: bytes
// and events in, bytes and actions out. Requests are answered one at a time and in order; later ones wait in
// the input buffer, whose limit stops the reader. Every buffer is bounded by a block and a head.
//
// The driver, after each event: carries out take_actions(), sends client_output() and upstream_output(),
// reports what was sent, and reads again where there is space; until nothing moves. Owned by its driver; not
// thread-safe.
#pragma once

#include "protocol/http/body.hpp"
#include "protocol/http/head.hpp"
#include "protocol/http/problem.hpp"
#include "proxy/http_buffer.hpp"
#include "proxy/http_env.hpp"
#include "routing/snapshot.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lull {

/// Which connection an exchange can use.
enum class upstream_choice : std::uint8_t {
    any,      // an idle one, else a fresh one
    checked,  // an idle one that is seen to be open: the request could not be sent a second time
    fresh,    // a new one: an idle one has just failed
};

enum class upstream_failure : std::uint8_t { unreachable, timed_out };

/// In the order in which they are to be carried out.
struct http_actions {
    bool release_upstream = false;  // back to the idle ones
    bool drop_upstream = false;     // close it, or stop connecting
    bool connect = false;           // get one for `site`, as `choice` says
    routing::site_id site{};
    upstream_choice choice = upstream_choice::any;
    bool upstream_is_down = false;  // it did not accept a connection in time
    bool finish_upstream = false;  // all was sent; end our side of it
    bool finish_client = false;    // likewise; the client may still send, and is read
    bool close_client = false;
    bool reset_client = false;  // close it so that the client cannot take what it has for complete
};

class http_session_core {
  public:
    http_session_core(http_env&, std::string peer_address, std::uint16_t local_port);
    ~http_session_core();
    http_session_core(http_session_core const&) = delete;
    http_session_core& operator=(http_session_core const&) = delete;

    /// Where to receive; empty: do not read now. Follow with *_received(), also of nothing.
    std::span<char> client_space();
    void client_received(std::size_t n);
    void client_ended();  // end of its side
    void client_lost();   // reset, or it cannot be written to

    std::span<char> upstream_space();
    void upstream_received(std::size_t n);
    void upstream_ended();
    void upstream_lost();          // reset: not an orderly end
    void upstream_write_failed();  // it does not take more; what it has said may still be read
    void upstream_connected(bool reused);
    void upstream_failed(upstream_failure);

    std::string_view client_output() const { return to_client_.view(); }
    void client_sent(std::size_t n);
    /// Head and body, for one gathered send. Only while an upstream is connected.
    std::array<std::string_view, 2> upstream_output() const;
    void upstream_sent(std::size_t n);

    /// Time has passed: env.now.
    void tick();

    /// The drain deadline of the site has passed: a request that began before it to write ends now.
    void end_writing(routing::site_id site);
    struct writing {
        bool under_way = false;
        routing::site_id site{};
        std::string_view peer;
        std::string_view what;  // method and path
        routing::instant since{};
    };
    /// Views until the next event.
    writing writes() const;

    http_actions take_actions();

    bool closed() const { return phase_ == phase::closed; }
    bool in_exchange() const { return phase_ == phase::exchange; }
    bool idle() const { return phase_ == phase::head && client_in_.empty() && to_client_.empty(); }
    /// Between requests: end it at the next opportunity, for a graceful stop.
    void close_when_idle();

  private:
    enum class phase : std::uint8_t {
        head,        // between requests or inside a head
        exchange,    // a request is with an upstream, or waits for one
        discarding,  // answered by us; the rest of a short body is skipped so that the connection can go on
        tunnel,
        closing,  // nothing more is read as a request; flush, end our side, discard what comes
        closed,
    };
    enum class link : std::uint8_t { none, wanted, connected };
    enum class waiting : std::uint8_t {
        nobody,
        next_request,
        head,
        client_body,
        client_reading,
        connecting,
        upstream,
        half_closed,
        lingering
    };

    // http_session_core.cpp
    void advance();
    bool read_head();
    bool discard_body();
    bool pump_tunnel();
    bool finish_closing();
    void end_exchange();
    void drop_upstream();
    void abort_response();
    void start_closing(bool more_may_come);
    waiting waits_for() const;
    void timed_out(waiting);
    void touch() { stamp_ = env_.now; }

    // http_request_core.cpp
    void start_request(std::string_view head);
    void forward(routing::site const&, bool counts_as_write);
    void write_request_head(routing::site const&, std::string& out) const;
    bool pump_request();
    void request_body_failed(http::errc);

    // http_response_core.cpp
    bool pump_response();
    bool read_response_head();
    bool forward_body();
    void write_response_head(std::string& out);
    bool forward_interim_response();
    void start_tunnel();
    void complete();
    bool upstream_gone();
    void fail_upstream(upstream_failure, std::string_view detail);

    // http_answer_core.cpp
    void answer_malformed(http::errc);
    void answer_problem(unsigned status, std::string_view code, std::string_view title,
                        std::string_view detail);
    void answer_read_only(routing::site const&);
    void answer_status(routing::site const&);
    void answer(unsigned status, std::string_view content_type, std::string_view body,
                std::string_view fields);
    void append_mode_fields(std::string& out) const;
    std::uint64_t retry_after_seconds(routing::site const&) const;
    bool can_skip_rest() const;

    http_env& env_;
    std::string const peer_address_;
    std::uint16_t const local_port_;

    http_buffer client_in_;
    http_buffer to_client_;
    http_buffer upstream_in_;
    http_buffer to_upstream_;
    http_buffer request_head_;  // kept until the response begins, for a second attempt
    std::size_t request_head_sent_ = 0;

    http_actions actions_;
    routing::instant stamp_;  // the last progress
    routing::instant half_closed_since_{};
    routing::instant closing_since_{};
    phase phase_ = phase::head;
    bool client_ended_ = false;
    bool client_finished_ = false;  // our side towards it is ended
    bool upstream_finished_ = false;
    bool empty_line_skipped_ = false;
    bool discard_rest_ = false;  // closing: whatever the client sends is skipped
    bool reset_at_end_ = false;
    bool leave_when_idle_ = false;

    http::head_scanner request_scanner_;
    http::head_scanner response_scanner_;
    http::body_reader request_body_;
    http::body_reader response_body_;

    // Of the current request; reset by start_request.
    struct exchange {
        bool has_site = false;
        routing::site_id site{};
        bool counted_write = false;
        std::string what;  // of a counted write
        routing::instant since{};
        bool head_method = false;
        bool http_1_0 = false;
        bool keep_alive = false;
        bool expects_continue = false;
        bool idempotent = false;
        bool has_body = false;
        bool chunked_request = false;
        bool last_chunk_sent = false;  // of the request
        bool request_done = false;
        bool reused = false;
        bool retried = false;
        bool response_begun = false;  // any byte of it has come
        bool response_head_sent = false;
        bool chunked_response = false;
        bool last_chunk_answered = false;
        bool delimited_by_close = false;
        bool event_stream = false;  // may be silent as long as it likes
        bool upstream_keep_alive = false;
        bool upstream_ended = false;
        bool upstream_reset = false;
        bool response_head_done = false;
        bool upstream_deaf = false;  // takes no more of the request
        bool te_trailers = false;
        std::uint8_t interim_responses = 0;
        link upstream = link::none;
        http::answer_format format = http::answer_format::problem;
        std::string request_id;
        std::string upgrade;  // what was asked for; empty: nothing
    } exchange_;
};

}  // namespace lull
