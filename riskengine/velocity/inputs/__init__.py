"""What velocity takes in: features of the event alone and the increments of measures."""
