"""The errors a user can cause or mend.

Every message is one line that says what is wrong, where, the value met and the remedy. The command line
prints it and exits with code 2. Our own invariants use ``assert``; failures of one avatar are records in a
ledger and never travel as exceptions.
"""


class RodinError(Exception):
    """Bad input or a condition that only the user can mend."""


class ConfigError(RodinError):
    """An unknown preset, an unknown key, a value of the wrong type or out of range."""


class StaleStageError(RodinError):
    """A published stage was made with another configuration, and ``--redo`` was not given for it."""


class RunLockedError(RodinError):
    """Another driver holds the run's lock."""


class DataError(RodinError):
    """A file of a run, or one given by the user, is damaged, incomplete or of another schema."""


class ResourceError(RodinError):
    """A machine lacks what the work needs: disk, memory, a package, a reachable cluster."""
