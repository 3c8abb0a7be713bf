from azureml.monitoring import ModelDataCollector
import json

def init():
    global inputs, predictions
    inputs = ModelDataCollector('best_model', designation='inputs', feature_names=['a'])
    predictions = ModelDataCollector('best_model', designation='predictions', feature_names=['p'])

def run(raw_data):
    data = json.loads(raw_data)
    correlations = inputs.collect(data)
    predictions.collect([1], correlations)
    return 1
