"""Builds the wheel of brine with the engine in it: `brine/_bin/brine`, the command of this repository, made by Go.

The rest of what packaging needs to know is in pyproject.toml. The Go sources are those of the checkout around this
directory, or those that a source distribution brought along, in `_go`.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.errors import SetupError

HERE = Path(__file__).resolve().parent
BUNDLED = HERE / "_go"
ROOT = BUNDLED if BUNDLED.is_dir() else HERE.parent
MODULE = "github.com/brinepool/brine"
COMMAND = "cmd/brine"
ENGINE = "brine/_bin/brine"

# What Go calls the machine, and what wheels do.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

# For go list: all files of the packages that are ours, also those for other systems.
SOURCES = (
    "{{if .Module}}{{if or .Module.Main .Module.Replace}}"
    "{{range .GoFiles}}{{$.Dir}}/{{.}}\n{{end}}"
    "{{range .IgnoredGoFiles}}{{$.Dir}}/{{.}}\n{{end}}"
    "{{range .EmbedFiles}}{{$.Dir}}/{{.}}\n{{end}}"
    "{{end}}{{end}}"
)


def go(*args: str, env: "dict[str, str]") -> str:
    """Runs the go command in the root of the Go sources and returns its output."""
    try:
        done = subprocess.run(["go", *args], cwd=ROOT, env=env, capture_output=True, text=True)
    except FileNotFoundError:
        raise SetupError(
            "brine: the engine is written in Go, and there is no `go` on PATH to build it with: "
            "install Go 1.26 or newer, or a wheel that has the engine in it"
        ) from None
    if done.returncode != 0:
        raise SetupError(f"brine: go {' '.join(args)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def go_version(file: Path) -> str:
    """Returns the version of Go that a go.mod asks for."""
    return next(line.split()[1] for line in file.read_text().splitlines() if line.startswith("go "))


def numbers(version: str) -> "list[int]":
    """Returns the parts of a version, to be compared."""
    return [int(n) for n in version.split(".")]


class Workspace:
    """A Go workspace of the command and the module it is made from, without the others of the repository."""

    def __enter__(self) -> "dict[str, str]":
        if not (ROOT / COMMAND / "go.mod").is_file():
            raise SetupError(
                f"brine: the Go sources of the engine are not in {ROOT}: build in a checkout of the repository, "
                "or from a source distribution"
            )
        self.dir = tempfile.TemporaryDirectory(prefix="brine-go-")
        work = Path(self.dir.name, "go.work")
        version = max((go_version(m / "go.mod") for m in (ROOT, ROOT / COMMAND)), key=numbers)
        work.write_text(f'go {version}\n\nuse "{ROOT / COMMAND}"\n\nreplace {MODULE} => "{ROOT}"\n')
        return {**os.environ, "GOWORK": str(work), "CGO_ENABLED": "0"}

    def __exit__(self, *_: object) -> None:
        self.dir.cleanup()


class BuildWithEngine(build_py):
    """Builds the engine beside the Python files."""

    def run(self) -> None:
        super().run()
        engine = Path(HERE if self.editable_mode else self.build_lib, ENGINE).resolve()
        engine.parent.mkdir(parents=True, exist_ok=True)
        with Workspace() as env:
            go("build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(engine), f"./{COMMAND}", env=env)

    def get_outputs(self, include_bytecode: bool = True) -> "list[str]":
        engine = [] if self.editable_mode else [os.path.join(self.build_lib, ENGINE)]
        return [*super().get_outputs(include_bytecode), *engine]


class EngineWheel(bdist_wheel):
    """Tags the wheel: any Python 3, no ABI, and the system that the engine was built for."""

    def get_tag(self) -> "tuple[str, str, str]":
        """A static program needs neither glibc nor musl, so on Linux the tags of both are true."""
        system = os.environ.get("GOOS") or platform.system().lower()
        machine = MACHINES.get(os.environ.get("GOARCH", ""), platform.machine())
        if system != "linux":
            return "py3", "none", super().get_tag()[2]
        libcs = ("manylinux_2_17", "manylinux2014", "musllinux_1_1")
        return "py3", "none", ".".join(f"{libc}_{machine}" for libc in libcs)


class SourceWithEngine(sdist):
    """Puts the Go files that the engine is made of into the source distribution."""

    def make_release_tree(self, base_dir: str, files: "list[str]") -> None:
        super().make_release_tree(base_dir, files)
        goal = Path(base_dir, "_go")
        with Workspace() as env:
            sources = go("list", "-deps", "-f", SOURCES, f"./{COMMAND}", env=env).split()
        modules = [f"{dir}{file}" for dir in ("", f"{COMMAND}/") for file in ("go.mod", "go.sum")]
        for file in [*sources, *(str(ROOT / m) for m in modules if (ROOT / m).is_file())]:
            copy = goal / Path(file).relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


class EngineDistribution(Distribution):
    """Not pure Python, although it has no extension module."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    distclass=EngineDistribution,
    cmdclass={"build_py": BuildWithEngine, "bdist_wheel": EngineWheel, "sdist": SourceWithEngine},
)
