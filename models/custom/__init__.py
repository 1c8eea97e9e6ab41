"""A model of one's own: a network file and a short description of what is put in and what comes out."""
