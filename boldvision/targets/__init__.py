"""What frozen networks make of the images that were seen: one folder per kind of network."""
