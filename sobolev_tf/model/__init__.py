"""SobolevModel (equations 1 and 2): labels, terms, objective, inputs, scaling, the step."""
