import dataclasses, json
from typing import List

@dataclasses.dataclass
class Item:
    name: str
    scores: List[float]

def run(raw_data: str) -> dict:
    return dataclasses.asdict(Item('x', json.loads(raw_data)))
