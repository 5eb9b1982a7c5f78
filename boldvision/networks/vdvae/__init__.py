"""A very deep variational autoencoder of small pictures, whose latents go from coarse to fine.

Child (2021), in our own implementation; names of parameters are those of the published state.
"""
