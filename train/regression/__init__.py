"""Section 4.1: functions of two variables from few points, with derivatives and without."""
