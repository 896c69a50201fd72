"""Random numbers of the renderer: streams that depend on a few whole numbers and on nothing else."""

import numpy as np

Colour = tuple[float, float, float]
"""RGB in 0 .. 255."""


class Draws:
    """Named kinds of random numbers from one generator.

    Only `random`, and `integers` over whole bytes, are asked of the generator: of all its methods the least
    likely to change with NumPy.
    """

    def __init__(self, *words: int) -> None:
        """Start the stream that belongs to these numbers (seed, purpose, ...), all >= 0."""
        self.generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
        self._numbers: list[float] = []

    def uniform(self, low: float, high: float) -> float:
        """One number in [low, high)."""
        if not self._numbers:
            self._numbers = self.generator.random(64).tolist()
        return low + (high - low) * self._numbers.pop()

    def bell(self, middle: float, reach: float) -> float:
        """One number in middle +- reach, likelier near the middle (triangular)."""
        return middle + reach * (self.uniform(-0.5, 0.5) + self.uniform(-0.5, 0.5))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform(0, 1) < probability

    def pick(self, weights: tuple[float, ...]) -> int:
        """Index drawn by weights that sum to 1."""
        return min(int(np.searchsorted(np.cumsum(weights), self.uniform(0, 1))), len(weights) - 1)

    def colour(self, low: float, high: float) -> Colour:
        """A colour whose channels are independent."""
        return (self.uniform(low, high), self.uniform(low, high), self.uniform(low, high))
