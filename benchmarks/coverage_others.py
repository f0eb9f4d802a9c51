"""How exactly other networks are cut: Hugging Face's, segmentation-models', torchvision's that are no classifiers.

    pip install transformers segmentation-models-pytorch
    python benchmarks/coverage_others.py    # a minute of one core

Each is made by its smallest configuration with weights drawn at random, on images of 64 pixels, and cut by three random
plans, as `coverage.py` does it for timm's. What is given lists of images and picks boxes (whole detectors) is listed
too, with the reason why it is refused. The table goes to `benchmarks/results/coverage_others.md`.
"""

import argparse
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import segmentation_models_pytorch as segmentation
import transformers
from coverage import exactness, lines_of_checked
from torch import nn
from torchvision.models import detection
from torchvision.models import segmentation as maps

from shared.tables import RESULTS, write_results

SIZE: Final = (3, 64, 64)
TOKENS: Final[dict[str, Any]] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
}  # fmt: skip
STAGES: Final[dict[str, Any]] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1]}
BARE: Final[dict[str, Any]] = {"weights": None, "weights_backbone": None, "num_classes": 4}


def of_hugging_face(kind: str, task: str = "ForImageClassification", **configuration: Any) -> Callable[[], nn.Module]:
    """A network of a class of Hugging Face's, by its configuration."""
    made = getattr(transformers, f"{kind}Config")(**configuration)
    return lambda: getattr(transformers, f"{kind}{task}")(made)


def of_segmentation(kind: str) -> Callable[[], nn.Module]:
    """A network of segmentation-models' over a ResNet-18."""
    return lambda: getattr(segmentation, kind)(encoder_name="resnet18", encoder_weights=None, classes=4)


def networks() -> dict[str, Callable[[], nn.Module]]:
    """What a network is called -> what makes it."""
    backbone = transformers.ResNetConfig(embedding_size=8, layer_type="basic", out_features=["stage4"], **STAGES)
    detr = {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "num_queries": 7,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "use_timm_backbone": False,
        "use_pretrained_backbone": False, "backbone": None, "backbone_config": backbone,
    }  # fmt: skip
    swin = {"image_size": 64, "embed_dim": 16, "depths": [2, 2, 2], "num_heads": [2, 2, 4], "window_size": 4}
    segformer = {"hidden_sizes": [16, 32, 32, 32], "depths": [1, 2, 1, 1], "num_attention_heads": [1, 2, 2, 2]}
    return {
        "Hugging Face ViT": of_hugging_face("ViT", intermediate_size=64, **TOKENS),
        "Hugging Face DeiT": of_hugging_face("DeiT", intermediate_size=64, **TOKENS),
        "Hugging Face DINOv2": of_hugging_face("Dinov2", mlp_ratio=2, **TOKENS),
        "Hugging Face Swin": of_hugging_face("Swin", **swin),
        "Hugging Face ConvNeXt": of_hugging_face("ConvNext", image_size=64, **STAGES),
        "Hugging Face ResNet": of_hugging_face("ResNet", embedding_size=8, layer_type="basic", **STAGES),
        "Hugging Face SegFormer": of_hugging_face(
            "Segformer", "ForSemanticSegmentation", decoder_hidden_size=32, **segformer
        ),
        "Hugging Face DETR": of_hugging_face("Detr", "ForObjectDetection", **detr),
        "segmentation-models U-Net": of_segmentation("Unet"),
        "segmentation-models FPN": of_segmentation("FPN"),
        "segmentation-models DeepLabV3+": of_segmentation("DeepLabV3Plus"),
        "torchvision LR-ASPP": lambda: maps.lraspp_mobilenet_v3_large(**BARE),
        "torchvision DeepLabV3": lambda: maps.deeplabv3_resnet50(aux_loss=True, **BARE),
        "torchvision SSDLite, its backbone": lambda: detection.ssdlite320_mobilenet_v3_large(**BARE).backbone,
        "torchvision Faster R-CNN, its backbone": lambda: detection.fasterrcnn_resnet50_fpn(**BARE).backbone,
        "torchvision SSDLite": lambda: detection.ssdlite320_mobilenet_v3_large(**BARE),
        "torchvision Faster R-CNN": lambda: detection.fasterrcnn_resnet50_fpn(**BARE),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the table")
    asked = parser.parse_args()
    found = [exactness(name, made, SIZE) for name, made in networks().items()]
    packages = ("transformers", "segmentation-models-pytorch", "torchvision")
    note = ", ".join(f"{package} {version(package)}" for package in packages)
    lines = [*lines_of_checked(found, "of other libraries"), "", f"Images of 64 pixels; {note}."]
    print(*lines, sep="\n")
    write_results("coverage_others", lines, folder=asked.results)


if __name__ == "__main__":
    main()
