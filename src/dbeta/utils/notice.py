"""The notice that stands wherever results are shown."""

NOTICE = "Research use only. Not a medical device."
