"""The command line ``qwen-audio``; every command calls one function of the floors below."""
