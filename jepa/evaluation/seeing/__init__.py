"""Sheets that show what a trained model sees, predicts, and does not know.

`NAMES` are those of the sheets, in the order of the report; naming them imports no torch.
"""

NAMES = ("pca", "similarity", "attention", "nearest", "energy", "decoded")
