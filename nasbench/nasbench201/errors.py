"""What a question to the benchmark can be refused with."""

from configs.errors import DataError


class QueryError(DataError, ValueError):
    """The benchmark holds no answer; the message names what there is. A ValueError too, as in the official packages."""
