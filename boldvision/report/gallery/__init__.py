"""The gallery: one page on which reconstructions are looked at, window by window."""
