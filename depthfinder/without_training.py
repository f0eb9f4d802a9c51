"""Finds plans from Python without labels and without training: layers are fitted in place of blocks."""

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
    """Scores plans of `model` by layers that are fitted to its blocks. It can be given to `df.search` as `evaluate`.

    The chain and the latency table have to offer the fits: `df.describe(model, df.Fitted.choices)` and
    `df.profile(model, extra_choices=df.Fitted.choices)`.

    The score of a plan is exp(-d) n / (n + 1), where d is the mean distance of its outputs from those of the uncut
    network on the last quarter of the images, n in number, which no layer is fitted on.

    Attributes:
        fits: The fitted layers.

    Example:
        >>> import depthfinder as df, torch
        >>> model = df.load_model("deit_digits", depth=4)
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
        """Fits a layer for every block and choice at once.

        Args:
            model: The network, which is left alone.
            images: (N, C, H, W), without labels, normalised as the network is given them. Layers are fitted on the
                first three quarters.
            input_size: (channels, height, width) of the images, as for `df.describe`.

        Raises:
            FitError: when there are too few images, or the network's outputs on them are not finite.
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
        """(block, choice) -> the loss that is expected of this cut alone, for `df.search`.

        It is the part of the block's output that the fit misses, weighted by how much the logits depend on each place.
        """
        return expected_harms(self.fits)

    def __call__(self, plans: Sequence[Plan]) -> list[Score]:
        return self._evaluate(plans)

    def cut(self, plan: Plan) -> Cut:
        """Returns the network of a plan at lambda 0, its layers fitted in sequence. It can be merged, or trained on."""
        cut = apply(self._model, plan, input_size=self._input_size).eval()
        fit_in_sequence(cut, self._images)
        return cut
