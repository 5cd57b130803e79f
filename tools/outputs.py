"""Puts into documents what their commands print.

    outputs.py README.md examples/python/*/README.md

A line `<!-- output of: COMMAND -->` is followed by a block of code: the command is run by the shell, in the directory of
the document, and what it prints takes the place of what the block holds, standard output and standard error together.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

BLOCK = re.compile(r"(<!-- output of: (?P<command>.+?) -->\n```[a-z]*\n)(?P<old>.*?)(```\n)", re.DOTALL)


def main() -> int:
    """Rewrite the documents; the status is 1 if a command failed, and then its document stays as it was."""
    failed = 0
    for document in sys.argv[1:]:
        try:
            rewrite(document)
        except subprocess.CalledProcessError as e:
            failed = 1
            print(f"{document}: {e}\n{e.stdout}", file=sys.stderr)
    return failed


def rewrite(document: str) -> None:
    """Rewrite a document."""
    with open(document) as f:
        text = f.read()

    def run(block: re.Match[str]) -> str:
        command = block["command"]
        print(f"== {document}: {command}", flush=True)
        done = subprocess.run(
            command,
            shell=True,
            cwd=os.path.dirname(os.path.abspath(document)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        lines = (line.rstrip() for line in done.stdout.strip("\n").split("\n"))
        return block[1] + "\n".join(lines) + "\n" + block[4]

    new = BLOCK.sub(run, text)
    if new != text:
        with open(document, "w") as f:
            f.write(new)


if __name__ == "__main__":
    sys.exit(main())
