"""Generates the code of `protos/` and proves that it is current, well-formed and compatible; without a network.

protoc and `google/protobuf` come with grpcio-tools, `google/api` and `google/rpc` with googleapis-common-protos. buf
judges the image that this protoc makes, so it needs neither a registry nor copies of those files.

INVARIANTS: the path of a proto below `protos/` is the path of its code below the repository. `protos/baseline.binpb`
is the image of the last release (before the first: of what callers were last told); `make protos-baseline` moves it.

Called by `make protos`, `make protos-check`, `make protos-baseline` and `tests/test_generated.py`.
"""

import argparse
import filecmp
import re
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PROTOS: Final = ROOT / "protos"
BASELINE: Final = PROTOS / "baseline.binpb"
BUF: Final = Path(sys.executable).parent / "buf"
GENERATED: Final = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "v1/__init__.py")


class ProtosError(Exception):
    """A tool refused the protos; the message is what it said."""


def main() -> int:
    """Runs one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.protos", description=__doc__)
    parser.add_argument("command", choices=("generate", "check", "baseline"))
    command = parser.parse_args().command
    try:
        if command == "generate":
            for path in replace_generated():
                print(path)
        elif command == "baseline":
            build_image(BASELINE, source_info=False)
            print(f"{BASELINE.relative_to(ROOT)}: what `make protos-check` compares with from now on")
        else:
            check()
    except ProtosError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def check() -> None:
    """Lints, compares with the baseline, and compares the committed code with fresh code.

    Raises:
        ProtosError: The first of the three that fails, with everything that it found.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        build_image(image)
        buf("lint", image)
        buf("breaking", image, "--against", BASELINE)
        differences = stale_files(Path(folder))
    if differences:
        raise ProtosError("generated code is not current; run `make protos`:\n  " + "\n  ".join(differences))
    print(f"protos: {len(proto_paths())} files lint clean, break nothing, and their generated code is current")


def proto_paths() -> list[str]:
    """Returns every proto's path below `protos/`, sorted, with forward slashes."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))


def build_image(target: Path, *, source_info: bool = True) -> None:
    """Compiles all protos and what they import into one descriptor set.

    Args:
        target: File to write.
        source_info: Whether comments and positions go in: lint needs them, the baseline does not.
    """
    options = ["--include_imports", f"--descriptor_set_out={target}"]
    if source_info:
        options.append("--include_source_info")
    protoc(*options, *proto_paths())


def generate(target: Path) -> None:
    """Generates all code below `target`: messages and their types, and stubs for files that declare a service."""
    target.mkdir(parents=True, exist_ok=True)
    protoc(f"--python_out={target}", f"--pyi_out={target}", *proto_paths())
    services = [path for path in proto_paths() if re.search(r"^service\s", (PROTOS / path).read_text(), re.MULTILINE)]
    if services:
        protoc(f"--grpc_python_out={target}", *services)
    for folder in {Path(path).parent for path in proto_paths()}:
        # Without it the import checks would not see the package.
        (target / folder / "__init__.py").write_text(
            f'"""Generated from protos/{folder.as_posix()} by `make protos`."""\n'
        )


def replace_generated() -> list[str]:
    """Puts fresh code in the place of the committed; returns the paths that changed, appeared or went."""
    with tempfile.TemporaryDirectory() as folder:
        changed = stale_files(Path(folder))
        fresh = Path(folder) / "code"
        for path in changed:
            if (fresh / path).exists():
                (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
                (ROOT / path).write_bytes((fresh / path).read_bytes())
            else:
                (ROOT / path).unlink()
    return changed


def stale_files(folder: Path) -> list[str]:
    """Generates into `folder`/code and returns the paths of generated files that differ from the committed ones."""
    fresh = folder / "code"
    generate(fresh)
    expected, committed = generated_below(fresh), generated_below(ROOT)
    return sorted(
        path
        for path in expected | committed
        if path not in expected or path not in committed or not filecmp.cmp(fresh / path, ROOT / path, shallow=False)
    )


def generated_below(base: Path) -> set[str]:
    """Returns the paths of generated files below `base`/riskengine, relative to `base`."""
    return {path.relative_to(base).as_posix() for pattern in GENERATED for path in (base / "riskengine").rglob(pattern)}


def protoc(*arguments: str) -> None:
    """Runs grpcio-tools' protoc over `protos/` with the installed google protos in reach.

    Raises:
        ProtosError: protoc refused.
    """
    well_known = files("grpc_tools") / "_proto"
    site_packages = Path(str(well_known)).parent.parent
    includes = [f"--proto_path={path}" for path in (PROTOS, site_packages, well_known)]
    run(sys.executable, "-m", "grpc_tools.protoc", *includes, *arguments)


def buf(command: str, image: Path, *arguments: str | Path) -> None:
    """Runs `buf lint` or `buf breaking` on an image by the rules of `buf.yaml`.

    Raises:
        ProtosError: buf found something; one line each, as file:line:column.
    """
    run(str(BUF), command, str(image), "--config", str(ROOT / "buf.yaml"), *map(str, arguments))


def run(*command: str) -> None:
    """Runs a tool and keeps quiet unless it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tool = " ".join(Path(part).name for part in command[:2])
        raise ProtosError(f"{tool} failed:\n{done.stdout}{done.stderr}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
