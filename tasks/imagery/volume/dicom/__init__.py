"""DICOM in, DICOM segmentations out."""
