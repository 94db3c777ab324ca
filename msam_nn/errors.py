"""The exceptions for mistakes that a user can mend."""


class UserError(SystemExit, RuntimeError):
    """One sentence saying what is wrong, where, and what to do.

    It is a ``RuntimeError``, so that programs, pools and tests catch it as they catch nnU-Net's own errors. It is a
    ``SystemExit`` too: where nobody catches it, as in nnU-Net's commands, Python prints the sentence alone, without a
    traceback, and ends with status 1.
    """


class UnsupportedError(UserError, NotImplementedError):
    """Something nnU-Net offers and this package does not; the sentence says what to use instead."""


def first_line(error: BaseException) -> str:
    """What an error says, shortened to a line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
