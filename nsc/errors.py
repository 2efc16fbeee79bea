"""Errors that a user can fix, reported in one line."""


class UserError(Exception):
    """One line on what was expected, what was found and what to do; the command line exits with status 2."""
