from mlmgmt_nb.scoring.threads import threaded


@threaded(2)
async def run(body):
    return body
