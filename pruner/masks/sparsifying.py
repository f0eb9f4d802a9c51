"""Training a network under masks: first a method searches for them, then the network trains under the final masks."""

from torch import Tensor, nn

from pruner.errors import SettingsError
from pruner.masks.masked import DECIDED, Masked
from pruner.training.objective import Objective, Teaching, task_loss
from pruner.training.train_step import TrainStep

SEARCH_SHARE = 0.6
"""The share of the training in which masks are searched for, by default."""


class Sparsifying(Objective):
    """Trains a masked network: its method searches for masks, then they are decided and stay.

    The network learns from labels throughout, and from a teacher if there is one.
    """

    network: Masked

    def __init__(
        self,
        masked: Masked,
        teaching: Teaching | None = None,
        smoothing: float = 0.0,
        search_share: float = SEARCH_SHARE,
    ) -> None:
        """Sets up the training of a masked network.

        Args:
            masked: The network, with the method that searches for its masks.
            teaching: What the network learns from beside the labels; None for the labels alone.
            smoothing: Label smoothing, in [0, 1).
            search_share: The share of the training in which masks are searched for, in (0, 1).

        Raises:
            SettingsError: when `search_share` is outside (0, 1).
        """
        super().__init__(masked)
        if not 0 < search_share < 1:
            raise SettingsError(f"masks are searched for in a share of the training in (0, 1), not {search_share}")
        self.teaching = teaching
        self.smoothing = smoothing
        self.search_share = search_share

    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
        """The loss of one step: images (B, C, H, W), targets (B,) or their probabilities (B, classes)."""
        masked, searched = self.network, self._searched(train_step)
        masked.enter(DECIDED if searched is None else masked.method.phase(searched))
        masked.searched = searched
        logits = masked(images)
        loss = task_loss(logits, targets, self.smoothing)
        penalty = None if searched is None else masked.method.penalty(masked, searched)
        if penalty is not None:
            loss = loss + penalty
        return loss if self.teaching is None else loss + self.teaching(images, logits)

    def on_gradients(self, train_step: TrainStep) -> None:
        """Shows the gradients to the method while it searches."""
        searched = self._searched(train_step)
        if searched is not None:
            self.network.method.on_gradients(self.network, searched)

    def note(self, train_step: TrainStep) -> str:
        """How much of the search is over, for whoever watches."""
        searched = self._searched(train_step)
        return "masks decided" if searched is None else f"{searched:.0%} searched"

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """Runs the network under the masks of this step. Masks that the next step decides are still soft."""
        assert isinstance(network, Masked)
        searched = self._searched(train_step)
        network.searched = 1.0 if searched is None and int(network.phase) != DECIDED else searched

    def _searched(self, train_step: TrainStep) -> float | None:
        """How much of the search is over, in [0, 1); None when it is done, as it always is at the last step."""
        searched = train_step.share / self.search_share
        return searched if searched < 1 and train_step.index < train_step.total - 1 else None
