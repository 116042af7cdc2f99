"""The least build backend (PEP 517): the wheel of the one package beside it."""

import hashlib
import re
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

HERE = Path(__file__).resolve().parent


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Write the wheel into a folder; its name."""
    text = (HERE / "pyproject.toml").read_text("utf-8")
    name = re.search(r'^name = "(.*)"', text, re.M)[1]
    version = re.search(r'^version = "(.*)"', text, re.M)[1]
    points = re.findall(r'^\[project\.entry-points\."(.*)"\]\n((?:\w.*\n)*)', text, re.M)
    package = name.replace("-", "_")
    about = f"{package}-{version}.dist-info"
    files = {
        path.relative_to(HERE).as_posix(): path.read_bytes()
        for path in sorted((HERE / package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files[f"{about}/METADATA"] = metadata.encode()
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    entries = "".join(f"[{group}]\n{lines}" for group, lines in points).replace('"', "")
    files[f"{about}/entry_points.txt"] = entries.encode()
    record = "".join(f"{path},{_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    wheel = f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / wheel, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return wheel


def _digest(data):
    return "sha256=" + urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
