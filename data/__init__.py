"""Images on disk become batches on the device: `data.loading.load_images`."""
