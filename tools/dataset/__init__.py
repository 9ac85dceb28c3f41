"""dataset: labelled queries of one's own, in whatever file they are, as a data set that the pipeline runs on."""
