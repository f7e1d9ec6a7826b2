"""Device, processes, precision, seeds, checkpoints, tracking and progress: all that differs between machines."""
