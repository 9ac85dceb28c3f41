"""dataset: your own labelled queries, in any of several file formats, as a data set that the pipeline runs on."""
