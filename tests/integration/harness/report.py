"""What a run tells at its end beside passed and failed."""


class DifferentialReport:
    """Of the scripts that were played: how many came out the same, and what else differs, by the script's own word."""

    def __init__(self):
        self.played = {}  # version: {script: {mode: {read: reason}}}

    def add(self, script, version, differences):
        self.played.setdefault(version, {})[script.name] = differences

    def merge(self, played):
        for version, scripts in played.items():
            self.played.setdefault(version, {}).update(scripts)

    def lines(self):
        if not self.played:
            return
        yield "differential: scripts of bytes, to the server and through Lull"
        reasons = {}
        for version, scripts in sorted(self.played.items()):
            for mode in ("transaction", "session"):
                listed = {name: found[mode] for name, found in scripts.items() if found[mode]}
                yield (f"  PostgreSQL {version}, {mode} mode: {len(scripts) - len(listed)} of {len(scripts)} equal, "
                       f"{len(listed)} with listed differences")
                for name, found in listed.items():
                    for reason in sorted(set(found.values())):
                        reasons.setdefault((name, reason), []).append(f"{version} {mode}")
        for (name, reason), where in sorted(reasons.items()):
            yield f"  {name} ({', '.join(where)}): {reason}"
