"""What `decision explain` and `journal replay` are told to ask instead: another policy, other reasons, another model.

INVARIANT: identifiers on the other policy's lists become tags by the key of the folder at hand, as they would in its server;
without a key only tags can be read, and what cannot be is told with its place.

Used by the commands `decision explain` and `journal replay`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from riskengine.cli.failures import UsageProblem

if TYPE_CHECKING:
    from riskengine.engine.configuration import Replacement
    from riskengine.wire.pseudonyms import TagKey

REASONS_NAME: Final = "reason_codes.yaml"
Policy = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="What would this policy.yaml have decided?")
]
ReasonCodes = Annotated[
    Path | None,
    typer.Option(
        "--reason-codes", metavar="FILE", help="Its reason codes. (default: the file beside it, else those of the time)"
    ),
]
ModelFolder = Annotated[
    Path | None, typer.Option("--model", metavar="DIR", help="What would this model have said? A bundle's folder.")
]


def replacement_of(
    directory: Path | None, *, policy: Path | None, reason_codes: Path | None, model: Path | None
) -> "Replacement | None":
    """Reads what is to be asked instead.

    Args:
        directory: The folder at hand, for its tag key.
        policy: A policy.yaml.
        reason_codes: A reason_codes.yaml.
        model: Folder of a bundle.

    Returns:
        None where nothing is named.

    Raises:
        UsageProblem: Reason codes without a policy, or no such folder.
        ConfigError: A file is no YAML.
        StartRefused: There is a tag key that cannot be used.
    """
    if policy is None and reason_codes is not None:
        raise UsageProblem("--reason-codes belongs to a policy; name it with --policy")
    if policy is None and model is None:
        return None
    from riskengine.engine.configuration import Replacement
    from riskengine.wire.pseudonyms import Pseudonyms
    from riskengine.yamlfile import load_file

    if model is not None and not model.is_dir():
        raise UsageProblem(f"{model} is no folder of a model; riskengine train makes them in the folder models")
    if policy is not None and reason_codes is None and (policy.parent / REASONS_NAME).is_file():
        reason_codes = policy.parent / REASONS_NAME
    key = tag_key_of(directory)
    return Replacement(
        policy=load_file(policy) if policy else None,
        reasons=load_file(reason_codes) if reason_codes else None,
        model_path=model,
        tag=Pseudonyms(key).tag if key else None,
    )


def tag_key_of(directory: Path | None) -> "TagKey | None":
    """Returns the tag key of the configuration folder named, or found as `find_directory` does; None without a server.yaml.

    Raises:
        StartRefused: It cannot be used.
        ConfigError: server.yaml has mistakes.
    """
    from riskengine.settings import load_settings
    from riskengine.wire.pseudonyms import TagKey

    candidates = [directory] if directory is not None else [Path("starter"), Path()]
    for candidate in candidates:
        if (candidate / "server.yaml").is_file():
            return TagKey.load(load_settings(candidate / "server.yaml").tag_key_file)
    return None
