"""What several stages share. Modules are nouns; none of them knows params.yaml or the project's paths,
except `settings`, which reads the one and whose callers name the other."""
