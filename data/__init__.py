"""The data room: volumes, NIfTI files, geometry, label sets, manifests and the layouts they come from."""
