"""
English: the sentences that titles and captions of the demo world are composed from.

Written for this project; no real person's text.
"""

from typing import Final

OPENERS: Final = (
    "One minute:",
    "Honestly,",
    "Listen to this:",
    "A small tip:",
    "This morning:",
    "Question of the day:",
    "No filter:",
    "A thought from {city}:",
    "Before you sleep:",
    "Between us:",
)
TAILS: Final = (
    "💚",
    "🌿 gently",
    ", what about you?",
    "(part 2)",
    ", share it with someone who needs it",
    ", step by step",
    ", from {city}",
    "in one minute",
)
CAPTIONS: Final = (
    "Tell me in the comments how you live with it.",
    "Watch to the end and let me know what you think.",
    "Made with a lot of care.",
    "If it speaks to you, send it to a friend.",
    "We carry on in the next video.",
    "Thank you so much for your support.",
)
TOPICS: Final = {
    "S1": (
        "how to ask for help without shame",
        "my first visit to a therapist",
        "where to find someone who listens",
        "talking to someone you trust is strength",
        "what happens in a first session",
    ),
    "S2": (
        "what anxiety is and why it comes",
        "the difference between sadness and depression",
        "why our brains get tired",
        "panic attacks explained simply",
        "a psychologist answers your questions",
    ),
    "S3": (
        "breathe with me for four seconds",
        "how I calm down before an exam",
        "a bedtime routine without the phone",
        "five small things I do when I am tense",
        "a short walk that changes the day",
    ),
    "S4": (
        "I was unwell and got better little by little",
        "one year later: I laugh again",
        "my story with hope",
        "the day I started to feel better",
        "back to school after a hard time",
    ),
    "S5": (
        "seeing a therapist is nothing to be ashamed of",
        "words we can change",
        "men cry too, and that is fine",
        "mental health can be treated like any health",
        "listen before you judge",
    ),
    "S6": (
        "talking with your parents without a fight",
        "one question to ask your child tonight",
        "how I told mum I was not fine",
        "dinner without phones: we tried it",
        "my father and I are learning to listen",
    ),
    "S7": (
        "you are not alone, there are many of us",
        "starting again in a city where I know nobody",
        "how I made friends at university",
        "call someone you miss today",
        "coffee with my neighbour changed my day",
    ),
    "S8": (
        "exam stress: how I plan my time",
        "tired from work, here is what I changed",
        "fifteen minutes of study, five of rest",
        "a bad mark is not the end of the world",
        "saying no at work, kindly",
    ),
    "S9": (
        "less phone without missing out",
        "a week with the phone in another room",
        "what scrolling before bed does",
        "a Sunday without screens with the kids",
        "I turned off notifications and it helped",
    ),
    "S10": (
        "patience and strength, words from my grandmother",
        "drawing helps me rest",
        "a morning run by the sea",
        "what gives your day meaning",
        "playing football with the neighbours",
    ),
    "S11": (
        "living with the loss of someone we love",
        "I miss my grandfather",
        "the first holiday without them",
        "why we should talk about grief",
    ),
    "S12": (
        "a new mum and tired: that is normal",
        "caring for my mother and for myself",
        "living abroad: how we get used to it",
        "after retirement I found myself",
        "new fathers need support too",
    ),
    "cooking": (
        "an easy vegetable stew",
        "morning pancakes step by step",
        "a quick soup for cold days",
        "a salad in ten minutes",
        "a cake without an oven",
    ),
    "football": (
        "the street match in {city}",
        "who will win the derby?",
        "an easy drill with the ball",
        "the best goal of the week",
        "World Cup memories with family",
    ),
    "comedy": (
        "when mum calls you from the kitchen",
        "people you meet in a taxi",
        "when the family arrives unannounced",
        "my cat and the new carpet",
        "when you say five more minutes",
    ),
    "music": (
        "a quiet tune on the guitar",
        "street music in {city}",
        "an old song I love",
        "I learned the drum in a month",
        "a gentle rap about home",
    ),
    "city": (
        "a short tour of {city} at sunset",
        "the best coffee in {city}",
        "the morning market in {city}",
        "the train from {city}, seen from the window",
        "{city} in the rain",
    ),
}
HEAVY: Final = (
    "talking about trauma, without details",
    "when sadness lasts: signs to know",
    "I was bullied at school, this is my story",
    "hard news and what it does to us",
    "my parents' divorce and what it left",
)
FAMILIES: Final = {
    "despair": (
        "everything turned grey and nobody notices",
        "tired of smiling for others",
        "after you nothing feels good",
        "long night, heavy heart",
        "nothing will change",
    ),
    "body": (
        "compare yourself to her: who looks better?",
        "why my body is not like theirs",
        "before and after, see the difference",
        "the mirror always says no",
    ),
    "aggression": (
        "look how he cries haha",
        "laugh with me at this man",
        "people who fear everything, ha ha",
        "the way he talks, so funny",
    ),
    "self_diagnosis": (
        "five signs you have this illness",
        "answer three questions and know your disorder",
        "if you do this you are ill",
        "quiz: which disorder do you have?",
    ),
}
