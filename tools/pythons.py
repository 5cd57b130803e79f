"""Prints the interpreters that the Python tests can run with beside this one: one for each version that Brine supports.

They are looked for on PATH and among pyenv's, where there is one.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

VERSIONS = [(3, minor) for minor in range(9, 15)]


def main() -> None:
    """Print the path of each in a line."""
    for version in VERSIONS:
        if version != sys.version_info[:2]:
            path = find(f"{version[0]}.{version[1]}")
            if path:
                print(path)


def find(version: str) -> str:
    """Return the path of an interpreter of a version, or nothing. What can't be run, as a shim of pyenv, is none."""
    pyenv = output(["pyenv", "root"]) if shutil.which("pyenv") else ""
    dirs = os.environ.get("PATH", "").split(os.pathsep)
    dirs += sorted(glob.glob(os.path.join(pyenv, "versions", version + ".*", "bin"))) if pyenv else []
    script = "import sys, venv; print(sys.executable if sys.implementation.name == 'cpython' else '')"
    for dir in dirs:
        path = os.path.join(dir, "python" + version)
        if os.access(path, os.X_OK) and (found := output([path, "-c", script])):
            return found
    return ""


def output(command: list[str]) -> str:
    """Return what a command prints, or nothing if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    main()
