"""Errors of files that cannot be decoded."""

from nsc.errors import UserError


class BitstreamError(UserError):
    """A file that cannot be decoded."""


class NotNscError(BitstreamError):
    """The first bytes are not those of an .nsc file."""


class UnknownVersionError(BitstreamError):
    """The format is of another version."""


class WrongModelError(BitstreamError):
    """The file was made with a model that is not available."""


class DamagedError(BitstreamError):
    """The header is damaged, or too little is left after it."""
