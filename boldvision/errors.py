"""Errors that are a user's to mend."""


class UserError(Exception):
    """Bad input: names the file, what was expected, what was found and what to do."""


FETCH_AGAIN = "fetch it again, or replace it in your copy of the bucket"
"""What to do about a file of the data that is not as it should be."""
