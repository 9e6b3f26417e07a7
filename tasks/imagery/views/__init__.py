"""Images that show another image: a part, its means, what was decoded once for all."""
