"""Training a network into its masks: a search that any method makes in its own way, then the same for all of them."""

from torch import Tensor, nn

from pruner.errors import SettingsError
from pruner.masks.masked import DECIDED, Masked
from pruner.training.moment import Moment
from pruner.training.objective import Objective, Teaching, task_loss

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

    def forward(self, images: Tensor, targets: Tensor, moment: Moment) -> Tensor:
        masked, searched = self.network, self._searched(moment)
        masked.enter(DECIDED if searched is None else masked.method.phase(searched))
        masked.searched = searched
        logits = masked(images)
        loss = task_loss(logits, targets, self.smoothing)
        penalty = None if searched is None else masked.method.penalty(masked, searched)
        if penalty is not None:
            loss = loss + penalty
        return loss if self.teaching is None else loss + self.teaching(images, logits)

    def heed(self, moment: Moment) -> None:
        searched = self._searched(moment)
        if searched is not None:
            self.network.method.heed(self.network, searched)

    def note(self, moment: Moment) -> str:
        searched = self._searched(moment)
        return "masks decided" if searched is None else f"{searched:.0%} searched"

    def prepare_to_be_judged(self, network: nn.Module, moment: Moment) -> None:
        """The masks where the moment has them. Those that are decided with the next step are still soft."""
        assert isinstance(network, Masked)
        searched = self._searched(moment)
        network.searched = 1.0 if searched is None and int(network.phase) != DECIDED else searched

    def _searched(self, moment: Moment) -> float | None:
        """How much of the search is over, in [0, 1); None when all is, which it is at the last step however few."""
        searched = moment.share / self.search_share
        return searched if searched < 1 and moment.index < moment.total - 1 else None
