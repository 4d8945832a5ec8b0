"""Where demo owners live: real places on every inhabited continent, in degrees of WGS 84."""

from typing import NamedTuple


class City(NamedTuple):
    """A place by the name its people write, its centre, and whose names and languages are at home there."""

    name: str
    country: str
    latitude: float
    longitude: float
    people: str


CITIES = (
    City("Zürich", "Switzerland", 47.3769, 8.5417, "german"),
    City("Bern", "Switzerland", 46.9480, 7.4474, "german"),
    City("Genève", "Switzerland", 46.2044, 6.1432, "french"),
    City("Berlin", "Germany", 52.5200, 13.4050, "german"),
    City("München", "Germany", 48.1372, 11.5756, "german"),
    City("Hamburg", "Germany", 53.5511, 9.9937, "german"),
    City("Köln", "Germany", 50.9375, 6.9603, "german"),
    City("Wien", "Austria", 48.2082, 16.3738, "german"),
    City("Innsbruck", "Austria", 47.2692, 11.4041, "german"),
    City("Amsterdam", "Netherlands", 52.3676, 4.9041, "dutch"),
    City("Antwerpen", "Belgium", 51.2194, 4.4025, "dutch"),
    City("Paris", "France", 48.8566, 2.3522, "french"),
    City("Lyon", "France", 45.7640, 4.8357, "french"),
    City("Marseille", "France", 43.2965, 5.3698, "french"),
    City("London", "United Kingdom", 51.5074, -0.1278, "british"),
    City("Manchester", "United Kingdom", 53.4808, -2.2426, "british"),
    City("Edinburgh", "United Kingdom", 55.9533, -3.1883, "british"),
    City("Dublin", "Ireland", 53.3498, -6.2603, "british"),
    City("Madrid", "Spain", 40.4168, -3.7038, "spanish"),
    City("Barcelona", "Spain", 41.3874, 2.1686, "spanish"),
    City("Málaga", "Spain", 36.7213, -4.4214, "spanish"),
    City("Lisboa", "Portugal", 38.7223, -9.1393, "portuguese"),
    City("Porto", "Portugal", 41.1579, -8.6291, "portuguese"),
    City("Milano", "Italy", 45.4642, 9.1900, "italian"),
    City("Torino", "Italy", 45.0703, 7.6869, "italian"),
    City("Roma", "Italy", 41.9028, 12.4964, "italian"),
    City("København", "Denmark", 55.6761, 12.5683, "nordic"),
    City("Malmö", "Sweden", 55.6050, 13.0038, "nordic"),
    City("Stockholm", "Sweden", 59.3293, 18.0686, "nordic"),
    City("Oslo", "Norway", 59.9139, 10.7522, "nordic"),
    City("Tromsø", "Norway", 69.6492, 18.9553, "nordic"),
    City("Reykjavík", "Iceland", 64.1466, -21.9426, "nordic"),
    City("Warszawa", "Poland", 52.2297, 21.0122, "polish"),
    City("Kraków", "Poland", 50.0647, 19.9450, "polish"),
    City("İstanbul", "Türkiye", 41.0082, 28.9784, "turkish"),
    City("New York", "United States", 40.7128, -74.0060, "american"),
    City("Boston", "United States", 42.3601, -71.0589, "american"),
    City("Chicago", "United States", 41.8781, -87.6298, "american"),
    City("Denver", "United States", 39.7392, -104.9903, "american"),
    City("Seattle", "United States", 47.6062, -122.3321, "american"),
    City("Portland", "United States", 45.5152, -122.6784, "american"),
    City("San Francisco", "United States", 37.7749, -122.4194, "american"),
    City("Austin", "United States", 30.2672, -97.7431, "american"),
    City("Honolulu", "United States", 21.3069, -157.8583, "american"),
    City("Vancouver", "Canada", 49.2827, -123.1207, "american"),
    City("Toronto", "Canada", 43.6532, -79.3832, "american"),
    City("Montréal", "Canada", 45.5017, -73.5673, "french"),
    City("Québec", "Canada", 46.8139, -71.2080, "french"),
    City("Ciudad de México", "Mexico", 19.4326, -99.1332, "spanish"),
    City("Bogotá", "Colombia", 4.7110, -74.0721, "spanish"),
    City("Quito", "Ecuador", -0.1807, -78.4678, "spanish"),
    City("Santiago", "Chile", -33.4489, -70.6693, "spanish"),
    City("Buenos Aires", "Argentina", -34.6037, -58.3816, "spanish"),
    City("São Paulo", "Brazil", -23.5505, -46.6333, "portuguese"),
    City("Rio de Janeiro", "Brazil", -22.9068, -43.1729, "portuguese"),
    City("Florianópolis", "Brazil", -27.5954, -48.5480, "portuguese"),
    City("Cape Town", "South Africa", -33.9249, 18.4241, "southern"),
    City("Johannesburg", "South Africa", -26.2041, 28.0473, "southern"),
    City("Nairobi", "Kenya", -1.2921, 36.8219, "kenyan"),
    City("Mumbai", "India", 19.0760, 72.8777, "indian"),
    City("Bengaluru", "India", 12.9716, 77.5946, "indian"),
    City("Tokyo", "Japan", 35.6762, 139.6503, "japanese"),
    City("Osaka", "Japan", 34.6937, 135.5023, "japanese"),
    City("Sapporo", "Japan", 43.0618, 141.3545, "japanese"),
    City("Seoul", "South Korea", 37.5665, 126.9780, "korean"),
    City("Sydney", "Australia", -33.8688, 151.2093, "pacific"),
    City("Melbourne", "Australia", -37.8136, 144.9631, "pacific"),
    City("Auckland", "New Zealand", -36.8509, 174.7645, "pacific"),
    City("Wellington", "New Zealand", -41.2866, 174.7756, "pacific"),
    City("Christchurch", "New Zealand", -43.5321, 172.6362, "pacific"),
    City("Suva", "Fiji", -18.1248, 178.4501, "fijian"),
    # On Taveuni, which the antimeridian crosses: its listings lie on both sides of it.
    City("Waiyevo", "Fiji", -16.8000, -179.9833, "fijian"),
)
