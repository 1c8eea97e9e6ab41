"""How prompted models are asked: protocols, sources of prompts, replays. Described in docs/prompts.md."""
