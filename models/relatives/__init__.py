"""Relatives of nnU-Net: models that are made of nnU-Net's trained-model folders."""
