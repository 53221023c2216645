"""The paper's section 3 and SM 1: constructions and counts as functions, with their figures."""
