"""Errors that are part of the interface: raised with one message that says what is wrong and how to mend it.

The entry scripts and tools print the message without a traceback and exit with a non-zero status (`runtime.scripts`).
Everything else that escapes is a bug and keeps its traceback.
"""


class OnePathError(Exception):
    """Base of every error whose message is written for the user."""


class ConfigError(OnePathError):
    """A configuration file, key or override is wrong. Deterministic, so every rank raises it alike."""


class SpaceError(OnePathError):
    """A search space's description is wrong, or an architecture is not in the space."""


class WindowError(OnePathError):
    """No architecture lies inside the FLOPs window; the message names the feasible range."""


class DataError(OnePathError):
    """A data set is missing, unreadable or inconsistent."""


class DeviceError(OnePathError):
    """A device that was asked for is not there, or the processes do not match the devices."""


class StorageError(OnePathError):
    """A file cannot be written: the disk is full or read-only, a quota or a limit is reached, or it is not allowed."""


class CheckpointError(OnePathError):
    """A checkpoint is missing, unreadable, or belongs to another run or network."""


class ProcessError(OnePathError):
    """Another process of the job ended or does not answer."""


class TrainingError(OnePathError):
    """Training cannot go on: step after step, losses or gradients are not finite. Every rank raises it alike."""
