"""Errors that are a user's to mend."""


class UserError(Exception):
    """Bad input: names the file, what was expected, what was found and what to do."""
