"""Images on disk become batches on the device: `data.loading.load_images`."""

import runtime  # noqa: F401  (repairs torchvision's import before any module here asks for it)
