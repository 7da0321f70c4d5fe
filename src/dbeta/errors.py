"""The one error type whose message is meant for a person, and the one warning."""


class DBetaError(ValueError):
    """What the user gave cannot be used: one sentence that names it and what to do. The command line exits with 1."""


class DBetaWarning(UserWarning):
    """The result still means something, but less than the user may think (a flat lead, a short recording)."""
