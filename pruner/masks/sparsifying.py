"""Training a network into its masks: a search that any method makes in its own way, then the same for all of them."""

from torch import Tensor, nn

from pruner.errors import SettingsError
from pruner.masks.masked import DECIDED, Masked
from pruner.training.objective import Objective, Teaching, task_loss
from pruner.training.train_step import TrainStep

SEARCH_SHARE = 0.6


class Sparsifying(Objective):
    """Learns from labels, and from a teacher if there is one, while the method of the masked network searches; from
    `search_share` of the training on, under hard masks that are decided there and stay."""

    network: Masked

    def __init__(
        self,
        masked: Masked,
        teaching: Teaching | None = None,
        smoothing: float = 0.0,
        search_share: float = SEARCH_SHARE,
    ) -> None:
        """Raises `SettingsError` for a share outside (0, 1)."""
        super().__init__(masked)
        if not 0 < search_share < 1:
            raise SettingsError(f"masks are searched for in a share of the training in (0, 1), not {search_share}")
        self.teaching = teaching
        self.smoothing = smoothing
        self.search_share = search_share

    def forward(self, images: Tensor, targets: Tensor, train_step: TrainStep) -> Tensor:
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
        searched = self._searched(train_step)
        if searched is not None:
            self.network.method.on_gradients(self.network, searched)

    def note(self, train_step: TrainStep) -> str:
        searched = self._searched(train_step)
        return "masks decided" if searched is None else f"{searched:.0%} searched"

    def on_evaluate(self, network: nn.Module, train_step: TrainStep) -> None:
        """The masks where the moment has them. Those that are decided with the next step are still soft."""
        assert isinstance(network, Masked)
        searched = self._searched(train_step)
        network.searched = 1.0 if searched is None and int(network.phase) != DECIDED else searched

    def _searched(self, train_step: TrainStep) -> float | None:
        """How much of the search is over, in [0, 1); None when all is, which it is at the last step however few."""
        searched = train_step.share / self.search_share
        return searched if searched < 1 and train_step.index < train_step.total - 1 else None
