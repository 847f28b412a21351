"""The one error that a user's mistake becomes."""


class InputError(ValueError):
    """What the user gave cannot be used; the text is one clear sentence meant for them.

    The command line prints it and exits with 2; anything else that is raised is our own bug.
    """
