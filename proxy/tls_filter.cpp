#include "proxy/tls_filter.hpp"

#include "proxy/tls_certificate.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace lull {

struct tls_filter::wire {
    std::span<std::byte const> in;
    std::string* out = nullptr;  // null: between calls, when OpenSSL has nothing to say
};

namespace {

constexpr std::string_view alpn_protocol = "postgresql";

/// A BIO over borrowed memory: reads what just came, appends to what will be sent, owns nothing.
template <class Wire>
struct borrowed {
    static Wire& of(BIO* bio) { return *static_cast<Wire*>(BIO_get_data(bio)); }

    static int read(BIO* bio, char* to, int size) {
        Wire& w = of(bio);
        BIO_clear_retry_flags(bio);
        std::size_t const n = std::min(w.in.size(), static_cast<std::size_t>(std::max(size, 0)));
        if (n == 0) {
            BIO_set_retry_read(bio);
            return -1;
        }
        std::memcpy(to, w.in.data(), n);
        w.in = w.in.subspan(n);
        return static_cast<int>(n);
    }

    static int write(BIO* bio, char const* from, int size) {
        Wire& w = of(bio);
        BIO_clear_retry_flags(bio);
        if (!w.out) return -1;
        w.out->append(from, static_cast<std::size_t>(size));
        return size;
    }

    static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

    static BIO_METHOD* method() {
        static BIO_METHOD* const made = [] {
            BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lull");
            BIO_meth_set_read(m, &read);
            BIO_meth_set_write(m, &write);
            BIO_meth_set_ctrl(m, &control);
            return m;
        }();
        return made;
    }
};

}  // namespace

tls_filter::tls_filter(ssl_st* ssl, side which) : ssl_(ssl), wire_(std::make_unique<wire>()) {
    BIO* const bio = BIO_new(borrowed<wire>::method());
    BIO_set_data(bio, wire_.get());
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_, bio, bio);
    if (which == side::accept)
        SSL_set_accept_state(ssl_);
    else
        SSL_set_connect_state(ssl_);
}

tls_filter::~tls_filter() {
    SSL_free(ssl_);
}

void tls_filter::start(std::string& out) {
    wire_->out = &out;
    ERR_clear_error();
    if (int const done = SSL_do_handshake(ssl_);
        done != 1 && SSL_get_error(ssl_, done) != SSL_ERROR_WANT_READ)
        fail(done);
    wire_->out = nullptr;
}

std::size_t tls_filter::open(std::span<std::byte const> cipher, std::span<std::byte> plain,
                             std::string& out) {
    if (state_ == state::closed || state_ == state::failed) return 0;
    wire_->in = cipher;
    wire_->out = &out;
    std::size_t filled = 0;
    while (filled < plain.size()) {
        std::size_t got = 0;
        ERR_clear_error();
        int const result = SSL_read_ex(ssl_, plain.data() + filled, plain.size() - filled, &got);
        if (state_ == state::handshake && SSL_is_init_finished(ssl_)) state_ = state::open;
        if (result == 1) {
            filled += got;
            continue;
        }
        int const error = SSL_get_error(ssl_, result);
        if (error == SSL_ERROR_WANT_READ) break;
        if (error == SSL_ERROR_ZERO_RETURN)
            state_ = state::closed;
        else
            fail(result);
        break;
    }
    wire_->in = {};
    wire_->out = nullptr;
    return filled;
}

bool tls_filter::seal(std::span<iovec const> plain, std::string& out) {
    if (state_ != state::open && state_ != state::closed) return false;
    wire_->out = &out;
    bool good = true;
    for (iovec const& piece : plain) {
        std::size_t written = 0;
        ERR_clear_error();
        int const result = SSL_write_ex(ssl_, piece.iov_base, piece.iov_len, &written);
        good = result == 1 && written == piece.iov_len;
        if (!good) {
            fail(result);
            break;
        }
    }
    wire_->out = nullptr;
    return good;
}

void tls_filter::close(std::string& out) {
    if (state_ != state::open && state_ != state::closed) return;
    wire_->out = &out;
    ERR_clear_error();
    SSL_shutdown(ssl_);
    wire_->out = nullptr;
    state_ = state::closed;
}

void tls_filter::fail(int result) {
    state_ = state::failed;
    long const verified = SSL_get_verify_result(ssl_);
    unsigned long const code = ERR_peek_last_error();
    char const* const reason = ERR_reason_error_string(code);
    if (reason)
        error_ = reason;
    else if (SSL_get_error(ssl_, result) == SSL_ERROR_SYSCALL)
        error_ = "the connection ended in the middle of it";
    else
        error_ = "unknown error";
    // "certificate verify failed" alone helps nobody.
    if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
        error_ += std::string(": ") + X509_verify_cert_error_string(verified);
    ERR_clear_error();
}

bool tls_filter::spoke_alpn() const {
    unsigned char const* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &chosen, &size);
    return std::string_view(reinterpret_cast<char const*>(chosen), size) == alpn_protocol;
}

bool tls_filter::peer_verified() const {
    return SSL_get0_peer_certificate(ssl_) && SSL_get_verify_result(ssl_) == X509_V_OK;
}

std::string tls_filter::peer_common_name() const {
    X509* const certificate = SSL_get0_peer_certificate(ssl_);
    return certificate ? common_name_of(certificate) : std::string();
}

std::string tls_filter::peer_end_point() const {
    X509* const certificate = SSL_get0_peer_certificate(ssl_);
    return certificate ? end_point_of(certificate) : std::string();
}

std::string tls_filter::own_end_point() const {
    X509* const certificate = SSL_get_certificate(ssl_);
    return certificate ? end_point_of(certificate) : std::string();
}

}  // namespace lull
