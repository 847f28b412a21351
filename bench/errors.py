"""The one error that a user's mistake becomes, and how the system's own errors are told."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

DENIED = (errno.EACCES, errno.EPERM)


class InputError(ValueError):
    """What the user gave cannot be used; the text is one clear sentence meant for them.

    The command line prints it and exits with 2; anything else that is raised is our own bug.
    """

    def __init__(self, text: str) -> None:
        super().__init__(readable(text))


def readable(text: str) -> str:
    r"""The text with those bytes of a file's name that are not UTF-8 written out.

    >>> readable("caf\udce9.png")
    'caf\\xe9.png'
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def told(error: OSError, place: Path) -> str:
    """What the system refused and where; of a missing right also whose the file is, and who asks.

    Args:
        place: what is named where the error names no file.
    """
    name = error.filename if isinstance(error.filename, str) else str(place)
    sentence = f"{name}: {error.strerror or error}"
    return sentence + _rights(Path(name)) if error.errno in DENIED else sentence


def _rights(path: Path) -> str:
    """Owner, group and mode of the nearest folder that can be seen, and the user that this is."""
    for at in (path, *path.parents):
        try:
            found = at.stat()
        except OSError:
            continue
        owner = f"{_name('pwd', found.st_uid)}:{_name('grp', found.st_gid)}"
        which = "it" if at == path else str(at)
        return (
            f" ({which} is {owner}'s, {stat.filemode(found.st_mode)}; this runs as "
            f"{_name('pwd', os.geteuid())}:{_name('grp', os.getegid())})"
        )
    return ""


def _name(table: str, number: int) -> str:
    """The name of a user or a group; its number where it has none, as in many containers."""
    try:
        if table == "pwd":
            import pwd

            return pwd.getpwuid(number).pw_name
        import grp

        return grp.getgrgid(number).gr_name
    except (ImportError, KeyError):
        return str(number)


def first_line(error: Exception) -> str:
    """
    >>> first_line(ValueError("too small\\nand more"))
    'ValueError: too small'
    """
    return f"{type(error).__name__}: {error}".splitlines()[0]
