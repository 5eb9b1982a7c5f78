"""How fast this machine's GPU is: the stage `benchmark`, on random data of the true shapes."""
