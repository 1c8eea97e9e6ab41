"""The demo: made-up patients, two small networks trained on such, and the paired table of a first study."""
