import json
import os
from azureml.monitoring import ModelDataCollector
from azureml.monitoring.modeldatacollector import ModelDataCollector as SameCollector

os.environ['AML_MODEL_DC_DEBUG'] = 'true'

def init():
    global inputs, predictions, general
    inputs = ModelDataCollector('best_model', designation='inputs', feature_names=['a'])
    predictions = SameCollector('best_model', 'predictions', ['p'], 'sub/group/workspace', 'service', '3')
    general = ModelDataCollector('best_model', identifier='general', collection_name='extra')

def run(raw_data):
    data = json.loads(raw_data)
    correlations = inputs.collect(data, user_correlation_id='caller-7')
    rows = predictions.add_correlations([0.5], correlations)
    predictions.collect(rows)
    general.collect([1], correlations)
    return {'columns': list(rows.columns), 'id': rows.iloc[0, 1], 'without': predictions.add_correlations([1], None)}
