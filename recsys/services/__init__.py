"""
Use cases over an engine, one module each; every function takes the engine or the catalogue first.

`events`, `items`, `profiles`, `creators`: what platforms send. `rights`: what people set, see, reset and erase.
`reviews`: a creator's way back; `labels`: where a label comes from. `explain`: why an item is on a page, and replays;
`copies`: what binds an item as a copy. `lists`, `family`: pages without a feed. `preview`: another policy on logged
requests. `creator_report`, `floor_audit`: reports. `compaction`: events of people who ask for no feed.
"""
