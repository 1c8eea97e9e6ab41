"""DICOM series of CT, MR and PET as volumes, and RTSTRUCT and SEG objects as label maps on their grids."""
