import pytest

from rodin_models.fit.optimiser import learning_rate_share


def test_the_learning_rate_falls_from_one_to_its_end():
    assert learning_rate_share(0, 10, 0.1) == 1
    assert learning_rate_share(5, 10, 0.1) == pytest.approx(0.55)
    assert learning_rate_share(10, 10, 0.1) == pytest.approx(0.1)
