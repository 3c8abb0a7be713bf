from mlmgmt_nb.scoring.batching import batched


@batched()
def run(body):
    return body
