"""Waiting for conditions. No test sleeps and hopes: it names what must become true and for how long it may take."""
import time


def wait_for(condition, what, timeout=15.0, interval=0.01):
    """Call `condition` until it returns something true, and return that. An exception counts as "not yet"."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"last value {value!r}"
        except Exception as error:  # noqa: BLE001 -- whatever it was, it is shown when the time is over
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout:g} s still not so: {what} ({last})")
        time.sleep(interval)


def stays(condition, seconds, what):
    """`condition` must hold during all of `seconds`: for things that must NOT happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(0.02)
