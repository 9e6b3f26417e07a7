"""From somebody's model file to a bundle: read safely, questioned, compared with its own framework."""
