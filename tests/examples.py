"""Fetches what docs/examples need to run: python tests/examples.py FOLDER (once; make test-full does it).

deepbet with what its own pipeline imports goes to FOLDER itself, without touching the environment; the T1 head of
Debian's package mricron-data to FOLDER/ch2.nii.gz.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

PACKAGES = ("deepbet==1.0.2", "fill_voids==2.1.2", "fastremap==1.21.0", "pandas==3.1.1")
DEB = "http://deb.debian.org/debian/pool/main/m/mricron/mricron-data_1.2.20211006+dfsg-4_all.deb"
SHA256 = "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f"
HEAD = "./usr/share/mricron/templates/ch2.nii.gz"


def members(ar):
    """Name and bytes of every file of an ar archive, such as a .deb."""
    place = len(b"!<arch>\n")
    while place < len(ar):
        size = int(ar[place + 48 : place + 58])
        yield ar[place : place + 16].decode().strip(" /"), ar[place + 60 : place + 60 + size]
        place += 60 + size + size % 2


def fetch(folder):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--upgrade", "--target", str(folder), *PACKAGES], check=True)
    with urllib.request.urlopen(DEB, timeout=60) as answer:
        deb = answer.read()
    if hashlib.sha256(deb).hexdigest() != SHA256:
        raise OSError(f"{DEB} is not the file that it was")
    data = next(content for name, content in members(deb) if name.startswith("data.tar"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        (folder / "ch2.nii.gz").write_bytes(tar.extractfile(HEAD).read())  # last: it says that all is there


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if not (target / "ch2.nii.gz").exists():
        try:
            fetch(target)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"tests of docs/examples will be skipped: {error}", file=sys.stderr)
