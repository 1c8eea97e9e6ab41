"""SAT: organs named in words, segmented in CT, MR and PET (arXiv 2312.17183); written from a description of it."""
