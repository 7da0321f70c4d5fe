"""The one error type whose message is meant for a person, and the one warning."""


class DBetaError(ValueError):
    """What the user gave cannot be used: one sentence that names it and what to do. The command line exits with 1."""


class NoSignalError(DBetaError):
    """A stretch of a recording has no usable sample; others may have.

    Args:
        message: the sentence.
        duration: seconds of the whole recording, where known.
    """

    def __init__(self, message: str, duration: float | None = None) -> None:
        """Keep the duration."""
        super().__init__(message)
        self.duration = duration


class DBetaWarning(UserWarning):
    """The result still means something, but less than the user may think (a flat lead, a short recording)."""
