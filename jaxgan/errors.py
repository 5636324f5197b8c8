"""Errors that are the user's to read: no traceback, one or two sentences, exit code 2."""


class UserError(Exception):
    """A mistake in what a user typed or brought.

    The message says what is wrong, where, what would be right and what to run. The commands
    print it on stderr and exit with code 2.
    """


class NonFinite(Exception):
    """Training met a NaN or an infinity; the commands print the message and exit with code 3."""
