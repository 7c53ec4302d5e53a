"""
Training: data files -> checked tables -> fitted models -> an artifact folder.

`training.train.run` is the whole of it; `training.validate` checks the data, `training.importers` reads public
datasets, `training.models` fits, `training.text` encodes texts, `training.labels` predicts labels, and
`training.commands` are the commands. Nothing is imported here, so that `sanad --help` waits for no library.
"""
