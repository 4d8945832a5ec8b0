"""What owners say of the state of their things, of picking them up, and of their business. Data only."""

from app.models import Condition

NOTES = {
    Condition.NEW: (
        "Bought this season and hardly used.",
        "Still smells of the box.",
        "New last month; you may be the first to use it.",
    ),
    Condition.EXCELLENT: (
        "Looked after well and kept dry.",
        "Cleaned and checked after every rental.",
        "Works like on its first day.",
    ),
    Condition.GOOD: (
        "A few scratches from honest work; everything works.",
        "Used regularly and serviced every year.",
        "Shows some wear, none of which matters.",
    ),
    Condition.FAIR: (
        "No beauty any more, hence the price, but it does its job.",
        "Old and well used; I point out its quirks at pick-up.",
        "Has scratches and a dent or two, and works.",
    ),
}

PICK_UPS = (
    "Pick-up in {city} on weekdays after 17:00, at weekends by arrangement.",
    "Pick it up in {city}, any day between 8:00 and 19:00.",
    "You can collect it near the main square of {city}; I show you how it works.",
    "Pick-up is at my workshop in {city}, with parking at the door.",
    "I deliver within 10 km of the centre of {city} for a small fee, or you pick it up.",
    "Collect it in {city} the evening before: that is not charged.",
    "Pick-up and return in {city}; write to me and we find a time.",
    "Available from my garage in {city}; please bring an identity card.",
)

BUSINESS_NAMES = (
    "{family} Rentals",
    "{given}'s Gear Shed",
    "{city} Gear Share",
    "{family} & Friends",
    "Rent at {given}'s",
)

HOURS = (
    {"monday_to_friday": "08:00-18:00", "saturday": "09:00-16:00", "sunday": None},
    {"monday_to_friday": "17:00-20:30", "saturday": "09:00-18:00", "sunday": "10:00-18:00"},
    {"monday_to_friday": "07:00-17:00", "saturday": "08:00-12:00", "sunday": None},
    {"monday_to_friday": "by arrangement", "saturday": "by arrangement", "sunday": "by arrangement"},
)

HAND_OVERS = ("at the workshop", "at the front door", "at a locker, by code", "at the shop counter", "at the garage")
