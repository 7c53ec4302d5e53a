"""Pages for browsers that work without scripts, in English, French and Arabic."""
