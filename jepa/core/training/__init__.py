"""The generic trainer: it knows steps, devices and processes, and no modality."""
