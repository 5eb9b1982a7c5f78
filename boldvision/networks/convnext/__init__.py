"""ConvNeXt trained without labels (VICRegL): what MindEye1's low level is taught by."""
