"""SageMaker's built-in algorithms on one machine: plain programs over folders that mirror /opt/ml."""
