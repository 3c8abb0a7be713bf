"""The program that sends the requests of a scoring test: a separate process, so that no kernel slows it down.

`python -m mlmgmt_nb.load_generator` imports nothing else of ours, to start quickly. A `Plan` comes on standard input,
after which the end of that input means: stop. `Batch`es of results go to standard output, a few times a second. Each
message is MessagePack after its length in four bytes.
"""
