"""The one error that a user's mistake becomes, and how the system's own errors are told."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

RAISED = (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)
"""What a user's own module may raise."""

DENIED = (errno.EACCES, errno.EPERM)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udc7f\udd00-\udfff]")
"""What moves a cursor, and halves of characters that stand for no byte."""


class InputError(ValueError):
    """What the user gave cannot be used; the text is one clear sentence meant for them.

    The command line prints it and exits with 2; anything else that is raised is our own bug.
    """

    def __init__(self, text: str) -> None:
        super().__init__(readable(text))


class MachineError(InputError):
    """The machine failed, not what it ran: no room, a read-only disk, a device that is gone.

    A run stops at it, and the trial is left missing: the next run takes it up.
    """


MACHINE = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files in the system",
    errno.EIO: "the disk cannot be read or written",
    errno.EAGAIN: "no further process can be started",
    errno.ESTALE: "the network disk is gone",
}
"""Errors of the system that are no trial's fault."""

SAID = (
    *((os.strerror(number), MACHINE[number]) for number in MACHINE if number != errno.EAGAIN),
    ("database or disk is full", "no space left"),
    ("attempt to write a readonly database", "a study's file cannot be written"),
    ("database is locked", "another process keeps a study's file to itself"),
    ("GPU is lost", "the device is lost"),
    ("device is lost", "the device is lost"),
    ("fallen off the bus", "the device is lost"),
    ("CUDA-capable device(s) is/are busy or unavailable", "the device is not available"),
    ("uncorrectable ECC error", "the device's memory fails"),
)
"""The same as libraries say it that pass no number on."""


def machine_trouble(error: BaseException) -> str:
    """What is wrong with the machine, if that is what an error says; "" if not."""
    if isinstance(error, OSError) and error.errno in MACHINE:
        return MACHINE[error.errno] + (f" ({error.filename})" if error.filename else "")
    return next((told for said, told in SAID if said in message(error)), "")


def readable(text: str) -> str:
    r"""The text on one line: bytes that are not UTF-8, and what CONTROL finds, are written out.

    >>> readable("caf\udce9\x1b[31m.png")
    'caf\\xe9\\x1b[31m.png'
    """
    whole = _written_out(text).encode("utf-8", "surrogateescape")
    return _written_out(whole.decode("utf-8", "backslashreplace"))


def _written_out(text: str) -> str:
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def counted(n: float, noun: str) -> str:
    """
    >>> counted(1, "trial"), counted(1200, "trial"), counted(0.5, "point")
    ('1 trial', '1,200 trials', '0.5 points')
    """
    return f"{n:,.12g} {noun}" + ("" if n == 1 else "s")


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
        which, mode = "it" if at == path else str(at), stat.filemode(found.st_mode)
        owner, asker = _names(found.st_uid, found.st_gid), _names(os.geteuid(), os.getegid())
        return f" ({which} is {owner}'s, {mode}; this runs as {asker})"
    return ""


def _names(user: int, group: int) -> str:
    """Of a user and a group; the number of one that has no name, as in many containers."""
    import grp  # neither is on Windows
    import pwd

    names = [str(user), str(group)]
    with suppress(KeyError):
        names[0] = pwd.getpwuid(user).pw_name
    with suppress(KeyError):
        names[1] = grp.getgrgid(group).gr_name
    return ":".join(names)


def message(error: BaseException) -> str:
    """What an error says; nothing where a user's own fails at that, too."""
    try:
        return str(error)
    except Exception:
        return ""


def first_line(error: BaseException) -> str:
    """
    >>> first_line(ValueError("too small\\nand more"))
    'ValueError: too small'
    """
    return f"{type(error).__name__}: {message(error)}".splitlines()[0]
