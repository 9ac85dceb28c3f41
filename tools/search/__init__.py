"""The search for distillation's settings: what is searched, its trials, its storage and its page."""
