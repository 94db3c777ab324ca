"""One script a data set, each run as ``python -m dataset_conversion.DatasetNNN_Name``."""
