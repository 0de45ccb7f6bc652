"""100 clients of eight kinds write through Lull while its site is closed and opened and everything is killed; afterwards a judge
that knows nothing of Lull says from the server's log, its write-ahead log and its rows whether a promise was broken.

    clients.py   what clients send, and their ledgers: every write has a token of its own and one of four outcomes
    gate.py      the network between Lull and the primary, which can be cut while a statement runs
    plan.py      what happens when, drawn from the seed
    chaos.py     who is killed
    flips.py     the operator's flips, and what was claimed of each window
    judge.py     the evidence, and what it says
    rounds.py    one round of all this: servers, clients, chaos, judgement
"""
