"""Where pixels lie on the globe, and how large they truly are."""
