"""The program that sends the requests of a scoring test: a separate process, so that no kernel slows it down.

`python -m mlmgmt_nb.load_generator` imports nothing else of mlmgmt-nb, to start quickly. It reads a `Plan` from
standard input; the end of that input then tells it to stop. It writes `Batch`es of results to standard output, a few
times a second. Each message is MessagePack after its length in four bytes.
"""
