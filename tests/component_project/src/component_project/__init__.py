"""A small project as `dg` lays it out: two components, and the assets that read their files."""
