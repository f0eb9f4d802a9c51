"""Plans that differ in one or two blocks: climbing from plan to plan by learned gains, and what lies around a plan."""

import numpy as np

from search.space import Array, Bits, Space
from search.surrogate import Gains

_LEAST: float = 1e-9


class Neighbourhood:
    """All moves from one vector of a space (one block becomes something else), and what they and pairs of them do.

    `moves` is (moves, cuts): what is added to the vector. `places` is (moves,), the block that each changes.
    """

    def __init__(self, space: Space, vector: Array) -> None:
        self.space, self.vector = space, vector
        moves, places = [], []
        for place in np.unique(space.places):
            own = np.flatnonzero(space.places == place)
            now = next((cut for cut in own if vector[cut] > 0.5), None)
            for then in [*own, None]:
                if then == now:
                    continue
                move = np.zeros(len(vector))
                if now is not None:
                    move[now] = -1
                if then is not None:
                    move[then] = 1
                moves.append(move)
                places.append(place)
        self.moves, self.places = np.array(moves), np.array(places)
        plan = space.plan(vector)
        spare = np.array([limit.bound - limit.amount(plan) for limit in space.limits])
        saved = self.moves @ space.savings.T
        self.one_fits = (spare + saved >= -_LEAST).all(axis=1)
        self.two_fit = (spare + saved[:, None] + saved[None] >= -_LEAST).all(axis=2)
        self.two_fit &= self.places[:, None] < self.places[None]

    def all(self) -> Bits:
        """(plans, cuts) every vector that is within the limits, as far as those add up."""
        vector, moves = self.vector.astype(np.int8), self.moves.astype(np.int8)
        firsts, seconds = np.nonzero(self.two_fit)
        return np.vstack([vector + moves[self.one_fits], vector + moves[firsts] + moves[seconds]])

    def best(self, gains: Gains) -> tuple[float, Array]:
        """(gain, vector) of the best among them."""
        both = gains.pairs + gains.pairs.T
        one = self.moves @ (gains.single + both @ self.vector) + 0.5 * np.einsum(
            "mi,ij,mj->m", self.moves, both, self.moves
        )
        two = one[:, None] + one[None] + self.moves @ both @ self.moves.T
        one = np.where(self.one_fits, one, -np.inf)
        two = np.where(self.two_fit, two, -np.inf)
        if one.max() >= two.max():
            return float(one.max()), self.vector + self.moves[int(one.argmax())]
        first, second = np.unravel_index(int(two.argmax()), two.shape)
        return float(two.max()), self.vector + self.moves[first] + self.moves[second]


def climbed(space: Space, vector: Array, gains: Gains) -> Array:
    """The vector that changing one or two blocks at a time, always for the best, ends at."""
    while True:
        gain, better = Neighbourhood(space, vector).best(gains)
        if gain <= _LEAST * (1 + abs(gains.constant)):
            return vector
        vector = better
