//! Institutions, authors, papers and authorships with a skew like the real world's.
//!
//! Countries publish by their share, cities by the square root of their population (research is less concentrated than people are), topics
//! and authors by Zipf-like weights. An author has a home institution and a topic; co-authors are mostly neighbours, now and then from
//! elsewhere or from another field. The same author appears at several confidences, so counting authors is not counting rows.

use super::random::{SplitMix64, Weighted};
use super::{Authorship, City, Institution, Paper, PlacesError, World, places};

/// Never change it without the digest in the tests: every published example depends on it.
const SEED: u64 = 0x7449_6E74_7950_6531;
const AUTHORS: u32 = 60_000;
const AUTHORSHIPS: usize = 240_000;
/// Above every id that `PubMed` has given out, so that no generated paper passes for a real one.
const FIRST_PMID: u32 = 90_000_001;
const LAST_YEAR: u16 = 2025;
/// How far apart in the list of a topic's authors two neighbours may stand.
const NEIGHBOURHOOD: usize = 12;

/// An author's home.
struct Author {
    author_id: u32,
    institution: usize,
}

/// The authors of one topic, ordered by place, so that neighbours in the list are neighbours on the map.
struct Community {
    authors: Vec<Author>,
    productivity: Weighted,
}

/// All rows, from the fixed seed.
pub fn world() -> Result<World, PlacesError> {
    let countries = places::countries()?;
    let cities = places::cities(&countries)?;
    let topics = places::topics()?;
    let institutions = institutions(&cities);
    let mut world = World { countries, cities, topics, institutions, papers: Vec::new(), authorships: Vec::new() };
    let mut random = SplitMix64::new(SEED);
    let communities = communities(&world, &mut random);
    write_papers(&mut world, &communities, &mut random);
    count(&mut world);
    Ok(world)
}

/// One to five institutions a city, by its size; all named after it in ways that show that they are made up by rule.
fn institutions(cities: &[City]) -> Vec<Institution> {
    let mut institutions = Vec::new();
    for (index, city) in cities.iter().enumerate() {
        let name = city.name;
        let names = [
            format!("University of {name}"),
            format!("{name} University Hospital"),
            format!("{name} Institute of Biomedical Research"),
            format!("{name} Medical School"),
            format!("{name} Centre for Genomics"),
        ];
        let size = usize::try_from(city.population.isqrt() / 400).unwrap_or(0);
        let of_city = names.into_iter().take(size + 1).map(|name| Institution { city: index, name });
        institutions.extend(of_city);
    }
    institutions
}

/// Where authors live: a country by its share, a city in it, an institution of the city.
struct Homes {
    countries: Weighted,
    /// For each country its cities' indexes and their weights.
    cities: Vec<(Vec<usize>, Weighted)>,
    /// For each city its institutions' indexes.
    institutions: Vec<Vec<usize>>,
}

impl Homes {
    fn new(world: &World) -> Self {
        let of_country = |country: usize| {
            let cities = world.cities.iter().enumerate().filter(|(_, city)| city.country == country);
            let indexes: Vec<usize> = cities.map(|(index, _)| index).collect();
            let weights = Weighted::new(indexes.iter().map(|index| world.cities[*index].population.isqrt()));
            (indexes, weights)
        };
        let mut institutions = vec![Vec::new(); world.cities.len()];
        for (index, institution) in world.institutions.iter().enumerate() {
            institutions[institution.city].push(index);
        }
        Self {
            countries: Weighted::new(world.countries.iter().map(|country| country.share)),
            cities: (0..world.countries.len()).map(of_country).collect(),
            institutions,
        }
    }

    fn draw(&self, random: &mut SplitMix64) -> usize {
        let (cities, weights) = &self.cities[self.countries.draw(random)];
        self.in_city(cities[weights.draw(random)], random)
    }

    /// The first institution of a city is its largest.
    fn in_city(&self, city: usize, random: &mut SplitMix64) -> usize {
        let institutions = &self.institutions[city];
        let size = institutions.len();
        institutions[random.index(size).min(random.index(size))]
    }
}

fn communities(world: &World, random: &mut SplitMix64) -> Vec<Community> {
    let homes = Homes::new(world);
    let topics = topic_weights(world);
    let mut authors: Vec<Vec<Author>> = world.topics.iter().map(|_| Vec::new()).collect();
    for author_id in 1..=AUTHORS {
        let institution = homes.draw(random);
        authors[topics.draw(random)].push(Author { author_id, institution });
    }
    let mut communities = Vec::new();
    for mut authors in authors {
        // Institutions are listed city by city and country by country, so their index is the order of places.
        authors.sort_by_key(|author| (author.institution, author.author_id));
        let productivity = Weighted::new(authors.iter().map(|_| 1 + 60 / (1 + random.below(60))));
        communities.push(Community { authors, productivity });
    }
    communities
}

/// Zipf with an offset: the first topic is six times as frequent as the last of 24.
fn topic_weights(world: &World) -> Weighted {
    Weighted::new((4_u64..).take(world.topics.len()).map(|rank| 1_000_000 / rank))
}

fn write_papers(world: &mut World, communities: &[Community], random: &mut SplitMix64) {
    let homes = Homes::new(world);
    let topics = topic_weights(world);
    let mut pmid = FIRST_PMID;
    while world.authorships.len() < AUTHORSHIPS {
        let topic = topics.draw(random);
        world.papers.push(Paper { pmid, topic, year: year(random) });
        for (author, confidence) in team(communities, topic, random) {
            let home = author.institution;
            let institution = affiliation(world, &homes, home, random);
            let mut sign = |institution, confidence| {
                world.authorships.push(Authorship { pmid, author_id: author.author_id, institution, confidence });
            };
            sign(institution, confidence);
            // Some sign from two places at once, and the second affiliation is read on its own.
            if institution != home && random.percent(50) {
                sign(home, draw_confidence(random));
            }
        }
        pmid += 1;
    }
}

/// More papers in later years.
fn year(random: &mut SplitMix64) -> u16 {
    let age = random.below(21).min(random.below(21));
    LAST_YEAR.saturating_sub(u16::try_from(age).unwrap_or(0))
}

/// The authors of one paper, each once, with the confidence of their affiliation.
fn team<'a>(communities: &'a [Community], topic: usize, random: &mut SplitMix64) -> Vec<(&'a Author, u8)> {
    let home = &communities[topic];
    let lead = home.productivity.draw(random);
    let size = 2 + random.below(6) + random.below(5).saturating_sub(2) * random.below(4);
    let mut team: Vec<(&Author, u8)> = Vec::new();
    for place in 0..size {
        let author = match random.below(100) {
            _ if place == 0 => home.authors.get(lead),
            0..55 => home.authors.get((lead + random.index(2 * NEIGHBOURHOOD + 1)).saturating_sub(NEIGHBOURHOOD)),
            55..90 => home.authors.get(home.productivity.draw(random)),
            _ => {
                let other = &communities[random.index(communities.len())];
                other.authors.get(other.productivity.draw(random))
            }
        };
        let confidence = draw_confidence(random);
        if let Some(author) =
            author.filter(|author| team.iter().all(|(member, _)| member.author_id != author.author_id))
        {
            team.push((author, confidence));
        }
    }
    team
}

/// Mostly the author's home, sometimes another institution of the city, rarely one elsewhere.
fn affiliation(world: &World, homes: &Homes, home: usize, random: &mut SplitMix64) -> usize {
    match random.below(100) {
        0..6 => homes.in_city(world.institutions[home].city, random),
        6..10 => homes.draw(random),
        _ => home,
    }
}

/// 1 low, 2 medium, 3 high.
fn draw_confidence(random: &mut SplitMix64) -> u8 {
    match random.below(100) {
        0..22 => 1,
        22..55 => 2,
        _ => 3,
    }
}

/// Fills in the counts that order the domains.
fn count(world: &mut World) {
    for paper in &world.papers {
        world.topics[paper.topic].papers += 1;
    }
    for authorship in &world.authorships {
        world.cities[world.institutions[authorship.institution].city].authorships += 1;
    }
}
