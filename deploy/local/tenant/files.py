"""State files that survive ``kill -9``: a reader sees the old content or the new, never a half."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


class StateError(Exception):
    """The state directory cannot be used; the message says why in one line."""


def open_state(path: Path) -> Path:
    """Make the state directory (mode 0700) if it is absent. Raises StateError if it cannot be ours alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise StateError(f"cannot use the state directory {path}: {error.strerror}") from None
    return path


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """The file's content, made by ``make`` if there is none yet. Of two processes that create it, one wins."""
    if not path.exists():
        draft = _draft(path, make())
        try:
            os.link(draft, path)  # fails where rename would overwrite what the other process has just made
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)
    return path.read_bytes()


def replace(path: Path, content: bytes) -> None:
    """Put new content in place of the old in one step."""
    os.replace(_draft(path, content), path)


def _draft(path: Path, content: bytes) -> str:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp's mode is 0600
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return name
