"""Speed and accuracy of the core, each number a ratio or an error measured in one run."""
