"""nnU-Net v2: trained-model folders as nnU-Net writes them (Isensee et al. 2021, nnunetv2 2.8.1)."""
