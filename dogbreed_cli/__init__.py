"""From a folder of labelled images to a served classifier, in seven commands. Run `dogbreed --help`."""

__version__ = "0.1.0"
