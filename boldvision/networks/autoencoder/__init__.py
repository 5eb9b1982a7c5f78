"""An autoencoder of its own, beside those of generators: whose latents a decoder predicts."""
