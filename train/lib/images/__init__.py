"""Images: data sets, augmentation, and the experiment that both image scripts share."""
