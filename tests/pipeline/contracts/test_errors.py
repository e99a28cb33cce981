"""One class catches what a user can mend, and nothing else."""

import inspect

from pipeline.contracts import errors


def test_all_our_errors_are_rodin_errors() -> None:
    ours = [value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__]
    assert errors.RodinError in ours and len(ours) > 3
    assert all(issubclass(error, errors.RodinError) for error in ours)
    assert not issubclass(errors.RodinError, ValueError | OSError | AssertionError)
    assert all(inspect.getdoc(error) for error in ours)
