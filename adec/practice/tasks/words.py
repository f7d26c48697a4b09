"""The words of the tasks: few and common, so that each becomes one token."""

from __future__ import annotations

# (name, pronoun)
PEOPLE: tuple[tuple[str, str], ...] = (
    ("Anna", "She"), ("Ben", "He"), ("Clara", "She"), ("David", "He"), ("Emma", "She"),
    ("Felix", "He"), ("Grace", "She"), ("Hugo", "He"), ("Iris", "She"), ("Jonas", "He"),
    ("Kira", "She"), ("Leo", "He"), ("Maria", "She"), ("Noah", "He"), ("Olga", "She"),
    ("Paul", "He"), ("Rosa", "She"), ("Sam", "He"), ("Tara", "She"), ("Victor", "He"),
    ("Wendy", "She"), ("Yusuf", "He"), ("Zoe", "She"), ("Omar", "He"), ("Lina", "She"),
    ("Marco", "He"), ("Nina", "She"), ("Peter", "He"), ("Sofia", "She"), ("Tom", "He"),
)  # fmt: skip
NAMES: tuple[str, ...] = tuple(name for name, _ in PEOPLE)

THINGS: tuple[str, ...] = (
    "apples", "books", "cards", "coins", "shells", "stamps", "stones", "pens", "beads", "eggs",
    "nuts", "plums", "roses", "seeds", "tickets", "buttons", "marbles", "cookies", "stickers",
    "pears", "candles", "photos", "keys", "cups", "plates", "leaves", "lemons", "bricks", "maps",
    "ribbons",
)  # fmt: skip
HOLDERS: tuple[str, ...] = ("boxes", "bags", "jars", "packs", "baskets", "crates")
GOODS: tuple[str, ...] = (
    "pen", "book", "cup", "lamp", "hat", "kite", "ball", "map", "scarf", "plate", "drum", "rope",
)  # fmt: skip

# the pool of the list tasks, in alphabetical order
ITEMS: tuple[str, ...] = (
    "ant", "apple", "bear", "boat", "cake", "cloud", "dog", "door", "eagle", "egg", "fig", "fish",
    "glass", "goat", "hat", "hill", "ice", "island", "jam", "jar", "king", "kite", "lamp", "lion",
    "moon", "mouse", "nest", "nut", "oak", "owl", "pear", "plum", "queen", "rain", "river",
    "sand", "star", "tea", "tree", "van", "violin", "wolf", "wood", "yak", "zebra",
)  # fmt: skip

CITIES: tuple[str, ...] = (
    "Oslo", "Rome", "Paris", "Lima", "Cairo", "Tokyo", "Delhi", "Berlin", "Madrid", "Vienna",
    "Prague", "Dublin", "Athens", "Lagos", "Quito", "Boston",
)  # fmt: skip
JOBS: tuple[str, ...] = (
    "baker", "nurse", "pilot", "farmer", "teacher", "painter", "singer", "doctor", "tailor",
    "sailor", "judge", "writer",
)  # fmt: skip
PETS: tuple[str, ...] = (
    "cat", "dog", "horse", "parrot", "rabbit", "turtle", "goat", "hen", "mouse", "duck",
)  # fmt: skip
COLOURS: tuple[str, ...] = (
    "red", "blue", "green", "yellow", "white", "black", "brown", "purple", "orange", "grey",
)  # fmt: skip
SETTINGS: tuple[str, ...] = (
    "width", "height", "depth", "speed", "limit", "level", "port", "size", "delay", "weight",
    "offset", "volume",
)  # fmt: skip

COUNT_WORDS: tuple[str, ...] = ("one", "two", "three", "four", "five", "six", "seven")
