"""Section 4.1: functions of two variables from few points, with and without derivatives."""
