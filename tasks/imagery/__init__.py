"""Images in, masks out: every file format lives here, behind one protocol."""
