# Each decoder brings its rules in its own folder, so that a decoder is one folder, ours or a plug-in.
from boldvision import plugins

for folder in plugins.found("decoders").values():

    include: f"{folder}/rules.smk"
