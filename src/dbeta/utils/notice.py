"""The notice that is shown with all results."""

NOTICE = "Research use only. Not a medical device."
