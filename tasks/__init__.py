"""The steps of a run: plain typed functions, and beside them one thin Prefect face per step."""
