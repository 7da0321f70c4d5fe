"""Exceptions and warnings with messages for the user."""


class DBetaError(ValueError):
    """Unusable input, in one sentence that names it and what to do; the command line prints it and exits with 1."""


class NoSignalError(DBetaError):
    """A stretch of a recording has no usable sample, though others may.

    Args:
        message: the error in one sentence.
        duration: seconds of the whole recording, if known.
    """

    def __init__(self, message: str, duration: float | None = None) -> None:
        """Store the duration."""
        super().__init__(message)
        self.duration = duration


class DBetaWarning(UserWarning):
    """The result is usable but limited, as by a flat lead or a short recording."""
