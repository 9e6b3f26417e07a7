"""From a bundle to a file of another library, proved to give the same logits."""
