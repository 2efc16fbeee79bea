"""Mistakes that a user can mend, told in one line."""


class UserError(Exception):
    """What was expected, what was found and what to do, in one line; the command line exits with status 2."""
