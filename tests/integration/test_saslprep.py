"""Passwords that are not ASCII: PostgreSQL and libpq prepare them by SASLprep (RFC 4013), so that a password counts in each of its
forms, and Lull stands between them."""
import psycopg
import pytest

FORMS = ["IX", "I\u00adX", "\u2168", "I\u2060X\ufeff", "\uff29\uff38"]  # one password
FAILS = "foo\u06271bar"  # both directions of writing: its bytes count


@pytest.fixture
def role(cluster):
    """Makes the only role of these tests with a password, which the server prepares; returns its verifier."""
    def make(password):
        cluster.primary.sql(f"CREATE ROLE formed LOGIN PASSWORD '{password}'")
        cluster.catch_up()
        return cluster.verifier_of("formed")

    yield make
    cluster.primary.sql("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = 'formed'")
    cluster.primary.sql("DROP ROLE IF EXISTS formed")


def who(lull, password):
    with lull.connect(user="formed", password=password) as connection:
        return connection.execute("SELECT current_user").fetchone()[0]


def refused(lull, password):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        lull.connect(user="formed", password=password)


@pytest.mark.parametrize("at_server, configured", [(FORMS[0], FORMS[1]), (FORMS[1], FORMS[2]), (FORMS[2], FORMS[4]), (FAILS, FAILS)])
def test_lull_logs_in_to_the_server(make_lull, role, at_server, configured):
    role(at_server)
    lull = make_lull({"users": {"formed": {"password": "for Lull only", "server_password": configured}}})
    assert who(lull, "for Lull only") == "formed"


def test_a_password_in_plain_text_lets_in_each_of_its_forms(make_lull, role):
    role("IX")
    lull = make_lull({"users": {"formed": {"password": "\u2168"}}})
    for form in FORMS:
        assert who(lull, form) == "formed"
    refused(lull, "ix")
    refused(lull, "\u2169")


def test_one_that_cannot_be_prepared_is_taken_as_it_is(make_lull, role):
    role(FAILS)
    lull = make_lull({"users": {"formed": {"password": FAILS}}})
    assert who(lull, FAILS) == "formed"
    refused(lull, "foo1\u0627bar")
    refused(lull, "foobar")


def test_a_password_that_is_sent_matches_the_servers_verifier(make_lull, role):
    """With auth: password it comes in plain text, and no library has prepared it; Lull logs in with it, too."""
    verifier = role("I\u00adX")
    lull = make_lull({"auth": "password", "users": {"formed": {"password": verifier}}})
    for form in FORMS:
        assert who(lull, form) == "formed"
    refused(lull, "ix")
    asked = make_lull({"auth": "password"})  # by auth_query
    for form in FORMS:
        assert who(asked, form) == "formed"
    refused(asked, "ix")
