"""Pages from templates, and folders of files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routers.errors import ParameterError

__all__ = ["prepare_folder", "render", "write_files"]


def render(template: str, **values: Any) -> str:
    """A page from one of the templates beside this module.

    Raises:
        ParameterError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError:
        raise ParameterError("A report needs jinja2: install the extra 'reports' (pointsman[reports]).") from None
    environment = Environment(loader=PackageLoader("serve.reporting"), autoescape=True, trim_blocks=True)
    return str(environment.get_template(template).render(**values))


def prepare_folder(folder: Path) -> None:
    """Make a folder, if it is not there.

    Raises:
        ParameterError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(folder, error) from None


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder, which is made; files of these names are replaced.

    Returns:
        The path of `index.html`, whether or not it is among them.

    Raises:
        ParameterError: the folder cannot be written.
    """
    prepare_folder(folder)
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise _not_written(folder, error) from None
    return folder / "index.html"


def _not_written(folder: Path, error: OSError) -> ParameterError:
    reason = error.strerror or error
    return ParameterError(f"The report cannot be written to {folder} ({reason}): name another folder.")
