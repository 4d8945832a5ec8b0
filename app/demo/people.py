"""Who demo owners are: names as they occur together, and the languages spoken with renters."""

from typing import NamedTuple


class People(NamedTuple):
    """Given names, family names, languages; any given name goes with any family name."""

    given: tuple[str, ...]
    family: tuple[str, ...]
    languages: tuple[str, ...]


def _people(given: str, family: str, languages: str) -> People:
    return People(tuple(given.split()), tuple(family.split()), tuple(languages.split()))


PEOPLE = {
    "german": _people(
        "Anna Lukas Miriam Jonas Sophie Beat Katharina Matthias Lea Andreas Nina Tobias",
        "Keller Baumann Frei Schäfer Gerber Wolf Brunner Huber Vogel Lindner Steiner Roth",
        "German English",
    ),
    "dutch": _people(
        "Sanne Daan Femke Bram Lotte Jeroen Anouk Pieter Marieke Thijs",
        "Bakker Visser Mulder Peeters Maes Hendriks Dekker Claes Jansen Smit",
        "Dutch English",
    ),
    "french": _people(
        "Camille Julien Élodie Mathieu Chloé Étienne Manon Rémi Inès Théo",
        "Lefèvre Moreau Girard Tremblay Bonnet Rochat Mercier Gagnon Perrin Favre",
        "French English",
    ),
    "british": _people(
        "Imogen Callum Niamh Harry Fiona Rhys Aoife Alistair Priya Gareth",
        "Hughes MacLeod Byrne Whitaker Campbell Okafor Doyle Pritchard Shah Thornton",
        "English",
    ),
    "spanish": _people(
        "Lucía Mateo Valentina Andrés Carmen Joaquín Camila Diego Inés Álvaro",
        "García Fernández Muñoz Rojas Ortega Castillo Herrera Núñez Vargas Molina",
        "Spanish English",
    ),
    "portuguese": _people(
        "Beatriz João Mariana Tiago Letícia Rafael Inês Gustavo Larissa Duarte",
        "Silva Carvalho Araújo Magalhães Ribeiro Antunes Conceição Moreira Teixeira Rocha",
        "Portuguese English",
    ),
    "italian": _people(
        "Giulia Marco Chiara Lorenzo Elisa Davide Francesca Matteo Sara Niccolò",
        "Rossi Ferrari Colombo Ricci Gallo Conti Barbieri Moretti Fontana Rinaldi",
        "Italian English",
    ),
    "nordic": _people(
        "Ingrid Søren Astrid Lars Freja Björn Sigrún Håkon Linnéa Mikkel",
        "Lindqvist Sørensen Berg Nygård Holm Sandström Dahl Åkesson Vik Lund",
        "English Swedish Norwegian",
    ),
    "polish": _people(
        "Zofia Jakub Magdalena Paweł Agnieszka Michał Joanna Tomasz",
        "Kowalczyk Zieliński Wójcik Mazur Pawlak Dąbrowa Sikora Górny",
        "Polish English",
    ),
    "turkish": _people(
        "Elif Emre Zeynep Kerem Defne Burak Aylin Cem",
        "Yılmaz Demir Kaya Şahin Aydın Özdemir Arslan Koç",
        "Turkish English",
    ),
    "american": _people(
        "Emily Marcus Hannah Tyler Jasmine Ethan Grace Andre Olivia Caleb Mei Luis",
        "Bennett Nguyen Carter Ramirez Sullivan Brooks Patel Foster Kim Hayes Lopez Reed",
        "English Spanish",
    ),
    "southern": _people(
        "Thandi Pieter Lerato Johan Nomsa Sipho Anneke Kagiso",
        "Nkosi Botha Dlamini Naidoo Mokoena Fourie Jacobs Zulu",
        "English Afrikaans isiZulu",
    ),
    "kenyan": _people(
        "Wanjiru Kamau Achieng Otieno Njeri Kiprop Amina Mutua",
        "Mwangi Odhiambo Kariuki Wekesa Cheruiyot Njoroge Hassan Musyoka",
        "English Swahili",
    ),
    "indian": _people(
        "Ananya Rohan Kavya Arjun Meera Vikram Isha Nikhil",
        "Sharma Iyer Desai Reddy Kulkarni Menon Joshi Rao",
        "English Hindi",
    ),
    "japanese": _people(
        "Yuki Haruto Aoi Kenji Sakura Daichi Emi Takumi",
        "Tanaka Sato Watanabe Nakamura Kobayashi Mori Fujita Okada",
        "Japanese English",
    ),
    "korean": _people(
        "Ji-woo Min-jun Seo-yeon Dong-hyun Ha-eun Jae-won",
        "Kim Park Choi Jung Kang Yoon",
        "Korean English",
    ),
    "pacific": _people(
        "Charlotte Liam Aroha Jack Matilda Wiremu Ruby Angus Mia Lachlan",
        "Thompson Walker Ngata Mitchell Fraser Kelly Parata Harris Campbell Wright",
        "English",
    ),
    "fijian": _people(
        "Litia Sefa Ana Ratu Mere Josefa Priya Tomasi",
        "Waqa Tuilagi Naidu Vakatawa Singh Delana Koroi Prasad",
        "English Fijian Hindi",
    ),
}
