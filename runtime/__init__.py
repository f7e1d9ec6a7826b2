"""Device, processes, precision, seeds, checkpoints, tracking and progress: all that differs between machines."""

from runtime.compatibility import import_torchvision

import_torchvision()
