"""A pretended engine: what it says, how long it takes, and the OpenAI API around it. No Ray, no clock of its own."""
