"""One choice for each tensor, so that all fit into a budget and lose least together.

That is a multiple-choice knapsack. At a price for each byte every tensor has one best choice, and
the price at which these choices just fit bounds what can be reached. Any other option is worse by
its regret at that price; of all combinations only those are followed, tensor by tensor, whose
regrets leave them a chance. So the result is the best there is, except that no more than MAX_STATES
combinations are followed at a time, those of least regret.
Source: Sinha and Zoltners, The Multiple-Choice Knapsack Problem, Operations Research 27 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyllama_rt.errors import ConfigError

MAX_STATES = 4096

_BISECTIONS = 100
_LOWEST_PRICE = 1e-30
"""Of a byte, as a share of the largest loss of all tensors together."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to store a tensor. loss: what it costs, in any unit that may be added up."""

    type: str
    n_bytes: int
    loss: float


def allocate(tensors: Sequence[Sequence[Option]], budget: int) -> list[Option]:
    """One option for each tensor.

    Args: tensors: the options of each, one or more. budget: bytes of all together.
    Raises: ConfigError if the smallest options are larger than the budget.
    """
    least = sum(min(option.n_bytes for option in options) for options in tensors)
    if least > budget:
        raise ConfigError(
            f"expected room for {least} bytes, which is each tensor in its smallest type, found "
            f"{budget}"
        )
    useful = [_useful(options) for options in tensors]
    price, chosen = _at_best_price(useful, budget)
    return chosen if price == 0 else _search(useful, _filled(useful, chosen, budget), price, budget)


def _useful(options: Sequence[Option]) -> list[Option]:
    """Those that lose less than every smaller one, smallest first."""
    found: list[Option] = []
    for option in sorted(options, key=lambda o: (o.n_bytes, o.loss)):
        if not found or option.loss < found[-1].loss:
            found.append(option)
    return found


def _at_price(tensors: list[list[Option]], price: float) -> list[Option]:
    """The best of each tensor on its own; the smaller one where two are as good."""
    return [min(options, key=lambda o: o.loss + price * o.n_bytes) for options in tensors]


def _at_best_price(tensors: list[list[Option]], budget: int) -> tuple[float, list[Option]]:
    """The lowest price at which the choices fit, and these; 0 if nothing need be saved."""
    free = _at_price(tensors, 0)
    if _size(free) <= budget:
        return 0, free
    # At the highest price one byte costs more than any loss, and all tensors are smallest.
    high = 2 * sum(options[0].loss for options in tensors)
    low = high * _LOWEST_PRICE
    for _ in range(_BISECTIONS):
        middle = float(np.sqrt(low * high))  # prices span many powers of ten
        if _size(_at_price(tensors, middle)) <= budget:
            high = middle
        else:
            low = middle
    return high, _at_price(tensors, high)


def _size(chosen: Sequence[Option]) -> int:
    return sum(option.n_bytes for option in chosen)


def _filled(tensors: list[list[Option]], chosen: list[Option], budget: int) -> list[Option]:
    """The same with what is left of the budget spent, on what saves most for its bytes first."""
    found, room = list(chosen), budget - _size(chosen)
    while True:
        steps = [
            ((option.loss - now.loss) / (option.n_bytes - now.n_bytes), i, option)
            for i, (options, now) in enumerate(zip(tensors, found, strict=True))
            for option in options
            if 0 < option.n_bytes - now.n_bytes <= room
        ]
        if not steps:
            return found
        _, i, option = min(steps, key=lambda step: step[0])
        room -= option.n_bytes - found[i].n_bytes
        found[i] = option


def _search(
    tensors: list[list[Option]], known: list[Option], price: float, budget: int
) -> list[Option]:
    """The best choice, or `known` if none of those that are followed is better."""
    best = _at_price(tensors, price)
    # A choice loses `bound`, its regrets, and the price of the bytes that it leaves.
    bound = sum(o.loss + price * o.n_bytes for o in best) - price * budget
    to_beat = sum(o.loss for o in known) - bound
    n_bytes, regrets = np.zeros(1, np.int64), np.zeros(1)
    smallest = np.array([options[0].n_bytes for options in tensors])
    needed = np.append(np.cumsum(smallest[::-1])[::-1], 0)
    steps: list[NDArray[np.int64]] = []
    for i, options in enumerate(tensors):
        more = np.array([o.n_bytes for o in options])
        costs = np.array([o.loss + price * o.n_bytes for o in options])
        n_bytes = (n_bytes[:, None] + more).ravel()
        regrets = (regrets[:, None] + (costs - costs.min())).ravel()
        kept = np.flatnonzero((regrets < to_beat) & (n_bytes + needed[i + 1] <= budget))
        kept = kept[_undominated(n_bytes[kept], regrets[kept] - price * n_bytes[kept])]
        kept = kept[np.argsort(regrets[kept], kind="stable")[:MAX_STATES]]
        n_bytes, regrets = n_bytes[kept], regrets[kept]
        steps.append(kept)
    left = regrets + price * (budget - n_bytes)
    if not (left < to_beat).any():
        return known
    return _retrace(tensors, steps, int(left.argmin()))


def _undominated(n_bytes: NDArray[np.int64], losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the states than which no smaller one loses as little."""
    order = np.lexsort((losses, n_bytes))
    ordered = losses[order]
    before = np.minimum.accumulate(np.append(np.inf, ordered[:-1]))
    found: NDArray[np.int64] = order[ordered < before]
    return found


def _retrace(
    tensors: list[list[Option]], steps: list[NDArray[np.int64]], last: int
) -> list[Option]:
    """The options that led to a state: those of the last tensor vary fastest in each step."""
    found: list[Option] = []
    for options, kept in zip(reversed(tensors), reversed(steps), strict=True):
        last, option = divmod(int(kept[last]), len(options))
        found.append(options[option])
    return found[::-1]
