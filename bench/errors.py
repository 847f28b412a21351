"""The one error that a user's mistake becomes, and the words for those of others."""


class InputError(ValueError):
    """What the user gave cannot be used; the text is one clear sentence meant for them.

    The command line prints it and exits with 2; anything else that is raised is our own bug.
    """


def first_line(error: Exception) -> str:
    """
    >>> first_line(ValueError("too small\\nand more"))
    'ValueError: too small'
    """
    return f"{type(error).__name__}: {error}".splitlines()[0]
