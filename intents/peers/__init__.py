"""Other ways to tell intents apart, to be measured beside the models of this project: a module per peer."""
