"""Finding a plan from Python without labels and without training: layers fitted in the blocks' places."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from pruner.choices.choice import OWN_WEIGHTS
from pruner.choices.plan import Plan
from pruner.fitting.at_once import fit_at_once
from pruner.fitting.fits import Fits, expected_harms
from pruner.fitting.in_sequence import fit_in_sequence
from pruner.network.surgery import Cut, OpenNetwork, apply
from pruner.scoring.distance import distance_of
from pruner.scoring.evaluator import Evaluator
from pruner.scoring.score import Score

_AT_ONCE: Final = 32
_JUDGING: Final = 4


class Fitted:
    """Scores plans of `model` by layers fitted to it: give it to `df.search` as `evaluate`.

    The chain and the table are to offer the fits: `df.describe(model, df.Fitted.choices)` and
    `df.profile(model, extra_choices=df.Fitted.choices)`.
    A score is exp(-d), d the mean distance of a plan's outputs from the uncut network's on the last quarter of the
    images, which no layer is fitted on.

    Example:
        >>> import depthfinder as df, torch
        >>> model = df.load_model("deit_digits", pretrained=True)
        >>> images = torch.randn(40, 3, 32, 32)
        >>> fitted = df.Fitted(model, images)
        >>> plan = df.Plan("deit_digits", {"blocks.3.attn": "fit", "blocks.3.mlp": "drop"})
        >>> 0 < fitted([plan])[0].value < 1
        True
        >>> merged = df.merge(fitted.cut(plan))
    """

    choices: ClassVar = OWN_WEIGHTS
    """The choices whose layers are fitted."""

    def __init__(self, model: nn.Module, images: Tensor, *, input_size: Sequence[int] | None = None) -> None:
        """`images` (N, C, H, W) come as the network is given them, without labels; `input_size` is as for `describe`.

        Raises `FitError` where there are too few images, or the network gives no numbers on them.
        """
        self._model, self._input_size = model, input_size
        apart = max(1, len(images) // _JUDGING)
        self._images = list(images[:-apart].split(_AT_ONCE))
        network = OpenNetwork(model, OWN_WEIGHTS, input_size).eval()
        offered = {block: site.fitted_choices for block, site in network.sites.items() if site.fitted_choices}
        self.fits: Fits = fit_at_once(network, offered, self._images, len(images) - apart)
        judging = [(some, torch.zeros(len(some), dtype=torch.int64)) for some in images[-apart:].split(_AT_ONCE)]
        self._evaluate = Evaluator(network, judging, fits=self.fits, distance=distance_of(model))

    @property
    def harms(self) -> Mapping[tuple[str, str], float]:
        """(block, choice) -> what the cut alone is expected to cost, for `df.search`: what the fit misses of what the
        block adds, each place counting for as much as the answer depends on it."""
        return expected_harms(self.fits)

    def __call__(self, plans: Sequence[Plan]) -> list[Score]:
        return self._evaluate(plans)

    def cut(self, plan: Plan) -> Cut:
        """The plan's network at lambda 0, its layers fitted in sequence: to be merged, or trained from there."""
        cut = apply(self._model, plan, input_size=self._input_size).eval()
        fit_in_sequence(cut, self._images)
        return cut
