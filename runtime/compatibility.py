"""Repairs that let the pinned libraries import on every machine."""

import torch

_kept_libraries: list[torch.library.Library] = []


def import_torchvision() -> None:
    """Import torchvision, also where its binary operators do not match this build of torch.

    A CPU build of torch beside torchvision's CUDA build fails at import with "operator torchvision::nms does not
    exist". Declaring the two operators that torchvision registers fake kernels for repairs the import; transforms,
    data sets and timm then work, the operators themselves (unused here) do not.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept_libraries.append(library)  # a collected Library takes its schemas with it
        import torchvision  # noqa: F401
