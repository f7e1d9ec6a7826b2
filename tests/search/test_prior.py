"""The prior over operations: what each name stands for, and that the board's is kept over a restart."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError
from tiny_search import WINDOW, tiny_space

from configs.errors import ConfigError
from configs.schema import Search
from runtime.seeds import make_generator
from search.prior import OperationPrior
from search.scores import Scored
from supernet.catalog import build_space

SHARES = (0.1, 0.7, 0.2)


def prior_of(name: str, **keys: object) -> OperationPrior:
    return OperationPrior(Search(PRIOR=name, PRE_PROB=keys.pop("shares", SHARES), **keys), tiny_space())


def drawn_shares(prior: OperationPrior) -> list[float]:
    """Of the operations of 3,000 paths, whatever they cost."""
    paths = tiny_space().window(0, 10**9).sample(make_generator(0, "test"), 3000, prior.weights)
    counts = Counter(operation for path in paths for stage in path.stages for operation in stage)
    return [counts[operation] / counts.total() for operation in range(3)]


def test_even_is_uniform_over_the_window() -> None:
    assert prior_of("even").weights is None


def test_pre_prob_gives_its_shares() -> None:
    assert drawn_shares(prior_of("pre_prob")) == pytest.approx(SHARES, abs=0.02)


def test_paths_under_a_prior_stay_in_the_window() -> None:
    window = tiny_space().window(*WINDOW)
    assert all(path in window for path in window.sample(make_generator(0, "test"), 300, prior_of("pre_prob").weights))


def test_teacher_follows_the_board() -> None:
    prior, space = prior_of("teacher"), tiny_space()
    assert prior.weights is None, "no path is on the board yet"
    board = [Scored(space.parse(text), 50.0, 1, 1) for text in ("[[1],[1,1,1]]", "[[1,1],[1,2]]", "[[1],[2]]")]
    prior.follow(board)
    assert prior.shares == [[1.0, 9.0, 3.0], [1.0, 9.0, 3.0]]
    assert drawn_shares(prior) == pytest.approx([1 / 13, 9 / 13, 3 / 13], abs=0.02)


def test_only_teacher_follows_the_board() -> None:
    board = [Scored(tiny_space().parse("[[1],[1,1,1]]"), 50.0, 1, 1)]
    for name in ("even", "pre_prob"):
        prior = prior_of(name)
        before = prior.state_dict()
        prior.follow(board)
        assert prior.state_dict() == before


def test_the_shares_survive_a_restart() -> None:
    prior, restarted = prior_of("teacher"), prior_of("teacher")
    prior.follow([Scored(tiny_space().parse("[[1],[1,1,1]]"), 50.0, 1, 1)])
    restarted.load_state_dict(prior.state_dict())
    assert restarted.weights == prior.weights


def test_stages_with_one_operation_need_no_share() -> None:
    prior = OperationPrior(Search(PRIOR="pre_prob"), build_space("cream"))
    assert prior.shares
    assert prior.shares[0] == [1.0]
    assert prior.shares[1] == [0.05, 0.2, 0.05, 0.5, 0.05, 0.15]


def test_shares_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"PRE_PROB has 2 shares; stage 0 of tiny has 3 operations"):
        prior_of("pre_prob", shares=(0.5, 0.5))
    with pytest.raises(ValidationError, match=r"add up to 0\.9; they must add up to 1"):
        prior_of("pre_prob", shares=(0.5, 0.2, 0.2))
    with pytest.raises(ValidationError, match=r"follows the board, which SEARCH\.STRATEGY uniform does not keep"):
        prior_of("teacher", STRATEGY="uniform")
