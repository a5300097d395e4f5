"""A configuration folder as a whole: settings, key, what is measured, how it is decided.

INVARIANTS: the mistakes of all its files are told at once; kernels are loaded (and compiled, visibly) before anything that runs
them is made.

Used by every command that reads a folder.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from riskengine.cli.console import plural, step
from riskengine.cli.failures import UsageProblem
from riskengine.errors import ConfigError, Problem, RiskEngineError

if TYPE_CHECKING:
    from riskengine.engine.configuration import Configuration
    from riskengine.lab.events import EventPacker
    from riskengine.settings import ServerSettings
    from riskengine.wire.pseudonyms import TagKey
    from riskengine.yamlfile import Document

CONFIGURATION_FILES: Final = ("features.yaml", "policy.yaml", "reason_codes.yaml")
COMPILING: Final = "Compiling kernels, once, about 60 s"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder that was read.

    Attributes:
        directory: The folder.
        settings: server.yaml.
        key: The secret of all tags.
        configuration: Features, policy and, if wanted, the active model.
        documents: The files that it was compiled from, by name.
    """

    directory: Path
    settings: "ServerSettings"
    key: "TagKey"
    configuration: "Configuration"
    documents: "Mapping[str, Document]"

    def packer(self) -> "EventPacker":
        """Returns what turns rows of a history into events, as the server's door would."""
        from riskengine.lab.features import packer_of

        return packer_of(self.settings, self.key, self.configuration)


def find_directory(directory: Path | None) -> Path:
    """Returns the folder meant: the one named, else ``./starter``, else the current one.

    Raises:
        UsageProblem: There is no server.yaml in it.
    """
    if directory is not None and directory.is_file():
        raise UsageProblem(f"{directory} is a file; name the folder it is in: {directory.parent}")
    candidates = [directory] if directory is not None else [Path("starter"), Path()]
    for candidate in candidates:
        if (candidate / "server.yaml").is_file():
            return candidate
    if directory is None:
        raise UsageProblem("no server.yaml here or in ./starter; make a folder with: riskengine init starter")
    raise UsageProblem(f"no server.yaml in {directory}; make a folder with: riskengine init {directory}")


def load_workspace(directory: Path, *, with_model: bool) -> Workspace:
    """Reads a folder.

    Args:
        directory: Holds server.yaml and the analysts' files.
        with_model: Whether to bind the active model; without it a model that no longer fits does no harm.

    Raises:
        ConfigError: With every problem of every file.
        StartRefused: The tag key is missing or unsafe.
        BundleError: The active model is damaged or does not fit.
    """
    warm_visibly()
    from riskengine.engine.configuration import active_model, build_configuration
    from riskengine.settings import ServerSettings, load_settings
    from riskengine.wire.pseudonyms import Pseudonyms, TagKey
    from riskengine.yamlfile import load_file

    problems: list[Problem] = []
    settings, documents = ServerSettings(), []
    try:
        settings = load_settings(directory / "server.yaml")
    except ConfigError as error:
        problems += error.problems
    key = TagKey.load(settings.tag_key_file) if not problems else None
    for name in CONFIGURATION_FILES:
        try:
            documents.append(load_file(directory / name))
        except ConfigError as error:
            problems += error.problems
    configuration = None
    if len(documents) == len(CONFIGURATION_FILES):
        try:
            configuration = build_configuration(
                *documents,
                limits=settings.limits.engine_limits(),
                base_currency=settings.base_currency,
                model_path=active_model(settings.model_dir) if with_model and not problems else None,
                # Without a key an entry of a list could not be judged: this tells nobody's tag, and is thrown away.
                tag=Pseudonyms(key).tag if key is not None else lambda _entity, _value: 1,
                now_us=time.time_ns() // 1000,
            )
        except ConfigError as error:
            problems += error.problems
    if problems or configuration is None or key is None:
        raise ConfigError(in_folder(problems, directory))
    return Workspace(directory, settings, key, configuration, {each.name: each for each in documents})


def in_folder(problems: Sequence[Problem], folder: Path) -> list[Problem]:
    """Returns problems that name their files with the folder."""
    return [replace(problem, file=str(folder / Path(problem.file).name)) for problem in problems]


def check_address(address: str) -> None:
    """Raises UsageProblem unless an address can be one."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise UsageProblem(f"--address {address}: must be HOST:PORT, for example 127.0.0.1:50051")


def warm_visibly() -> bool:
    """Loads the kernels; says so where they have to be compiled.

    Returns:
        Whether something was compiled.
    """
    with step("Loading kernels", passing=True) as shown:
        from riskengine.engine.warm import warm

        def on_step(done: int, total: int, name: str) -> None:
            shown.update(done, total, name.removeprefix("riskengine.").removesuffix(".kernels"))
            shown.say(plural(total, "module"))

        return warm(
            on_step=on_step,
            on_compile=lambda: shown.becomes(COMPILING),
            on_wait=lambda: shown.becomes("Waiting for another process that compiles kernels"),
        )


def check_new(directory: Path, names: list[str]) -> None:
    """Refuses to write over anything.

    Raises:
        RiskEngineError: Some of the names exist; all are told.
    """
    present = [name for name in names if (directory / name).exists()]
    if present:
        raise RiskEngineError(
            f"{directory} already has {', '.join(present)}; nothing was changed. Name a new folder, or remove them first"
        )
