"""Is the model learning? Measures of a fixed batch, and the verdict on their course."""
