"""What will happen in a round, all of it drawn from the seed before the round begins. (When exactly a kill meets a statement is
up to the machine; what is tried, in which order and at which moments is not.)"""
import random
from dataclasses import dataclass

# Kind of event: how often it is drawn.
CHAOS = {
    "kill lull": 4,
    "kill lull while entering": 3,
    "kill lull while sealed": 2,
    "terminate backends": 3,
    "cut connections": 5,
    "kill a backend": 1,
    "kill the primary": 1,
    "kill the standby": 1,
}
FIRST = {"kill lull", "kill a backend", "kill the primary"}


@dataclass
class Event:
    at: float   # seconds since the round began
    what: str
    seed: int   # for what it still has to choose: which backend, how many


@dataclass
class Flip:
    gap: float  # open before it
    hold: float  # sealed
    on_deadline: str
    drain_ms: int
    freeze: bool
    migrations: int  # transactions of the migration in the window


class Plan:
    def __init__(self, seed, seconds, standby, chaos=None):
        """`chaos`: kinds of events, as in CHAOS; None: all."""
        self.seed, self.seconds, self.standby = seed, seconds, standby
        dice = random.Random(f"round {seed}")
        self.writes = dice.choice(["refuse", "hold"])
        # Of two rounds with the same seed, with a standby and without, one is fenced; of four seeds that alternate, two.
        self.fence = (seed // 2 + standby) % 2 == 0
        self.events, at = [], 1.5
        names = [name for name in (CHAOS if chaos is None else chaos) if standby or "standby" not in name]
        # Each kind once, so that a short round has many, and first of all those that no round may be without; then by weight.
        order = sorted(dice.sample(names, len(names)), key=lambda name: name in FIRST)
        while names and at < seconds - 2:
            what = order.pop() if order else dice.choices(names, [CHAOS[name] for name in names])[0]
            self.events.append(Event(at, what, dice.randrange(1 << 30)))
            at += dice.uniform(2, 6)
        self.flips = [Flip(gap=dice.uniform(0.1, 1.2), hold=dice.uniform(0.1, 1.5),
                           on_deadline=dice.choice(["wait", "wait", "cancel", "terminate", "abort"]),
                           drain_ms=dice.choice([50, 300, 2000, 10000]), freeze=dice.random() < 0.8,
                           migrations=dice.randrange(4)) for _ in range(int(seconds) + 1)]
