"""Published weights from the Hugging Face hub into the checkpoint folder.

    asked for --listed--> Listing --downloaded--> files and `fetched.json` beside them

Nothing but the files of a model's own repository is asked for, and no token leaves the machine: they are public.
"""
