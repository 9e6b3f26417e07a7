"""What a run leaves for people and catalogues: pictures, the report page, tables, STAC and BIDS records."""
