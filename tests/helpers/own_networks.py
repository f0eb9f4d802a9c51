"""Networks of their authors' own classes, which no family knows, as people write them."""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """One head, over tokens (B, N, C)."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        y: Tensor = self.proj(functional.scaled_dot_product_attention(q, k, v))
        return y


class Layer(nn.Module):
    """Two branches in a row; the second is what most people write as an MLP."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(wide), Attention(wide)
        self.norm2, self.up, self.down = nn.LayerNorm(wide), nn.Linear(wide, 2 * wide), nn.Linear(2 * wide, wide)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Tokens(nn.Module):
    """A small transformer of its author's own classes."""

    def __init__(self, wide: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, wide, 4, 4)
        self.layers = nn.ModuleList(Layer(wide) for _ in range(3))
        self.norm, self.out = nn.LayerNorm(wide), nn.Linear(wide, 10)

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = self.patches(x).reshape(b, self.out.in_features, -1).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.out(self.norm(x).mean(1))
        return y


class Convs(nn.Module):
    """Convolutions beside skips, one of them a projection; in-place additions and activations, as many are written."""

    class Basic(nn.Module):
        def __init__(self, wide: int, out: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(wide, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
            self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
            same = wide == out and stride == 1
            self.skip = None if same else nn.Sequential(nn.Conv2d(wide, out, 1, stride), nn.BatchNorm2d(out))

        def forward(self, x: Tensor) -> Tensor:
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)), inplace=True)))
            y += x if self.skip is None else self.skip(x)
            return functional.relu(y)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.body = nn.Sequential(*(self.Basic(*one) for one in [(8, 8, 1), (8, 16, 2), (16, 16, 1)]))
        self.out = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.body(self.stem(x)).mean((2, 3)))
        return y


class UNet(nn.Module):
    """Two sizes: what the first computes is needed behind the second; and all blocks are collected, as in C2f."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.out = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(40, 10, 1)
        self.wide = nn.Sequential(*(Convs.Basic(8, 8, 1) for _ in range(2)))  # which never runs as one
        self.deep = nn.ModuleList(Convs.Basic(16, 16, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        beside = self.wide[0](self.stem(x))
        y = self.down(beside)
        for block in self.deep:
            y = block(y)
        last = self.wide[1](beside)
        y = functional.interpolate(y, size=x.shape[-1] // 2)
        every = torch.cat([y, beside, last, beside.flip(-1)], 1)
        logits: Tensor = self.out(every).mean((2, 3))
        return logits


class Plain(nn.Module):
    """No skip at all: layers in rows, a module of branches that are put side by side, and one that hands half on."""

    class Halves(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            half = wide // 2
            self.branch = nn.Sequential(
                nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
                nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False), nn.BatchNorm2d(half),
                nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            first, second = x.chunk(2, dim=1)
            y = torch.cat((first, self.branch(second)), 1)
            return y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)

    class Beside(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            self.small, self.large = nn.Conv2d(wide, wide // 2, 1), nn.Conv2d(wide, wide // 2, 3, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(torch.cat([self.small(x), self.large(x)], 1))

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )  # fmt: skip
        self.beside, self.halves, self.out = self.Beside(8), self.Halves(8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.halves(self.beside(self.features(x))).mean((2, 3)))
        return y


class Lists(nn.Module):
    """Modules that are given several tensors: a list of the sizes, and a shortcut from elsewhere."""

    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Convs.Basic(8, 8, 1), Convs.Basic(16, 16, 1)])
            self.up = nn.Conv2d(16, 8, 1)

        def forward(self, sizes: list[Tensor]) -> list[Tensor]:
            for place, block in enumerate(self.blocks):
                sizes[place] = block(sizes[place])
            return [sizes[0] + functional.interpolate(self.up(sizes[1]), scale_factor=2.0), sizes[1]]

    class Beside(Layer):
        def forward(self, x: Tensor, shortcut: Tensor, scale: float = 1.0) -> Tensor:  # type: ignore[override]
            return scale * (super().forward(x) + shortcut)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 16, 2, 2)
        self.first, self.second = self.Stage(), self.Stage()
        self.beside, self.out = self.Beside(16), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        sizes = self.second(self.first([x, self.down(x)]))
        tokens = sizes[1].flatten(2).transpose(1, 2)
        y = self.beside(tokens, self.down(x).flatten(2).transpose(1, 2), scale=0.5)
        logits: Tensor = self.out(torch.cat([y.mean(1), sizes[0].mean((2, 3))], 1))
        return logits


class Recorded(nn.Module):
    """What cannot be traced, only recorded: settings by name, a loop whose length a tensor's shape says, results in a
    dataclass. Windows of tokens make the first axis longer than the images are many."""

    @dataclasses.dataclass
    class Output:
        logits: Tensor
        tokens: Tensor | None = None

    class Windows(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            self.norm, self.attention, self.dropout = nn.LayerNorm(wide), Attention(wide), nn.Dropout(0.1)
            self.layer = Layer(wide)

        def forward(self, tokens: Tensor, side: int = 4, **settings: object) -> tuple[Tensor, ...]:
            b, n, c = tokens.shape
            beside = tokens
            windows = self.norm(tokens).view(b * n // side, side, c)
            order = list(range(int(windows.shape[1])))[::-1]
            mask = torch.zeros(side, 1)
            mask[side // 2 :] = 1.0  # written part by part, as shifted windows' are
            if not mask.any():
                raise ValueError("half of it is one")
            windows = self.attention(torch.stack([windows[:, place] for place in order], 1) + mask)
            tokens = beside + self.dropout(windows.reshape(b, n, c))
            if settings.get("doubled"):
                tokens = 2 * tokens
            return self.layer(tokens), tokens

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.layers = nn.ModuleList(self.Windows(16) for _ in range(2))
        self.out = nn.Linear(16, 10)

    def forward(self, images: Tensor, **settings: object) -> "Recorded.Output":
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        for index, layer in enumerate(self.layers):
            tokens, *_ = layer(tokens, side=8, doubled=bool(index), **settings)
        return self.Output(logits=self.out(tokens.mean(1)), tokens=tokens)


class Yolo(nn.Module):
    """A detector as YOLOv8 is built: stages that collect what their blocks give, a pyramid, maps of three sizes."""

    class Conv(nn.Module):
        def __init__(self, wide: int, out: int, side: int = 1, stride: int = 1) -> None:
            super().__init__()
            self.conv = nn.Conv2d(wide, out, side, stride, side // 2, bias=False)
            self.bn, self.act = nn.BatchNorm2d(out), nn.SiLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.act(self.bn(self.conv(x)))
            return y

    class Bottleneck(nn.Module):
        def __init__(self, wide: int, *, skips: bool) -> None:
            super().__init__()
            self.cv1, self.cv2, self.add = Yolo.Conv(wide, wide, 3), Yolo.Conv(wide, wide, 3), skips

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.cv2(self.cv1(x))
            return x + y if self.add else y

    class C2f(nn.Module):
        def __init__(self, wide: int, out: int, count: int, *, skips: bool = True) -> None:
            super().__init__()
            half = out // 2
            self.cv1, self.cv2 = Yolo.Conv(wide, out), Yolo.Conv((2 + count) * half, out)
            self.m = nn.ModuleList(Yolo.Bottleneck(half, skips=skips) for _ in range(count))

        def forward(self, x: Tensor) -> Tensor:
            found = list(self.cv1(x).chunk(2, 1))
            found.extend(block(found[-1]) for block in self.m)
            y: Tensor = self.cv2(torch.cat(found, 1))
            return y

    class Sppf(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            self.cv1, self.cv2, self.pool = Yolo.Conv(wide, wide // 2), Yolo.Conv(wide * 2, wide), nn.MaxPool2d(5, 1, 2)

        def forward(self, x: Tensor) -> Tensor:
            found = [self.cv1(x)]
            found.extend(self.pool(found[-1]) for _ in range(3))
            y: Tensor = self.cv2(torch.cat(found, 1))
            return y

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.p3 = self.Conv(3, 8, 3, 2), nn.Sequential(self.Conv(8, 16, 3, 2), self.C2f(16, 16, 2))
        self.p4 = nn.Sequential(self.Conv(16, 32, 3, 2), self.C2f(32, 32, 1))
        self.p5 = nn.Sequential(self.Conv(32, 32, 3, 2), self.Sppf(32))
        self.up4, self.up3 = self.C2f(64, 32, 1, skips=False), self.C2f(48, 16, 1, skips=False)
        self.heads = nn.ModuleList(nn.Conv2d(wide, 10, 1) for wide in (16, 32, 32))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        p3 = self.p3(self.stem(x))
        p4 = self.p4(p3)
        p5 = self.p5(p4)
        p4 = self.up4(torch.cat([functional.interpolate(p5, size=p4.shape[-2:]), p4], 1))
        p3 = self.up3(torch.cat([functional.interpolate(p4, size=p3.shape[-2:]), p3], 1))
        maps = [head(one) for head, one in zip(self.heads, (p3, p4, p5), strict=True)]
        return {"logits": torch.cat([one.flatten(2) for one in maps], 2).mean(2), "maps": torch.cat([maps[0]])}


class Bisenet(nn.Module):
    """Two branches, one of detail and one of meaning, that guide each other, as in BiSeNetV2; a map of classes."""

    class Gather(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            self.conv = nn.Sequential(nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU())
            self.deep = nn.Sequential(
                nn.Conv2d(wide, 6 * wide, 3, 1, 1, groups=wide, bias=False), nn.BatchNorm2d(6 * wide),
                nn.Conv2d(6 * wide, wide, 1, bias=False), nn.BatchNorm2d(wide),
            )  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            return functional.relu(x + self.deep(self.conv(x)))

    class Guided(nn.Module):
        def __init__(self, wide: int) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(wide, wide, 3, 1, 1), nn.Conv2d(wide, wide, 1)
            self.out = nn.Sequential(nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide))

        def forward(self, detail: Tensor, meaning: Tensor) -> Tensor:
            gate = functional.interpolate(self.right(meaning), size=detail.shape[-2:], mode="bilinear").sigmoid()
            y: Tensor = self.out(self.left(detail) * gate)
            return y

    def __init__(self) -> None:
        super().__init__()
        wide = 8
        self.detail = nn.Sequential(nn.Conv2d(3, wide, 3, 2, 1), nn.ReLU(), nn.Conv2d(wide, wide, 3, 1, 1), nn.ReLU())
        self.meaning = nn.Sequential(nn.Conv2d(3, wide, 3, 4, 1), self.Gather(wide), self.Gather(wide))
        self.guided, self.head = self.Guided(wide), nn.Conv2d(wide, 5, 1)
        self.aux = nn.Conv2d(wide, 5, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        meaning = self.meaning(x)
        classes = self.head(self.guided(self.detail(x), meaning))
        return {"out": classes, "aux": self.aux(meaning)}


class TwoHeads(Tokens):
    """One trunk, and two heads with layers of their own: the first is what it is judged by."""

    def __init__(self, wide: int = 16) -> None:
        super().__init__(wide)
        self.first, self.second, self.boxes = Layer(wide), Layer(wide), nn.Linear(wide, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        b = x.shape[0]
        x = self.patches(x).reshape(b, self.out.in_features, -1).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return self.out(self.norm(self.first(x)).mean(1)), self.boxes(self.second(x).mean(1))
