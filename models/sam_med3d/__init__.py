"""SAM-Med3D-turbo: one organ a time from points, in a crop of 128^3 voxels at 1.5 mm."""
