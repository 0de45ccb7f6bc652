"""Certificates made with openssl, as an operator would: an authority, and what it signs."""
import os
import shutil
import subprocess


def _openssl(*args, **kwargs):
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, f"openssl {' '.join(args)}: {done.stderr}"


class Certificate:
    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    def copy_to(self, certificate, key):
        """Over the files of another: what a renewal does."""
        shutil.copyfile(self.certificate, certificate)
        shutil.copyfile(self.key, key)


class Authority:
    def __init__(self, folder, name="Test CA"):
        self.folder = str(folder)
        self.count = 0
        self.ca, self.key = self._path("ca.crt"), self._path("ca.key")
        self._key(self.key)
        _openssl("req", "-x509", "-new", "-key", self.key, "-out", self.ca, "-days", "30", "-subj", f"/CN={name}",
                 "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _key(self, path):
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
        os.chmod(path, 0o600)

    def issue(self, common_name, names=(), days=30):
        """`names`: DNS names, or addresses. Negative days: it has expired."""
        self.count += 1
        base = self._path(str(self.count))
        self._key(base + ".key")
        _openssl("req", "-new", "-key", base + ".key", "-out", base + ".csr", "-subj", f"/CN={common_name}")
        with open(base + ".ext", "w") as ext:
            ext.write("basicConstraints=CA:FALSE\n")
            if names:
                ext.write("subjectAltName=" + ",".join(("IP:" if n[0].isdigit() else "DNS:") + n for n in names) + "\n")
        _openssl("x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-out",
                 base + ".crt", "-days", str(days), "-extfile", base + ".ext")
        return Certificate(base + ".crt", base + ".key")
