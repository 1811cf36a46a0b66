-- The demo's schema, in the common subset of SQLite and PostgreSQL. Countries and cities are real, the rest is generated.
-- This text holds no semicolon other than the one that ends each statement, because the loader splits it there.

CREATE TABLE country (
    country_code TEXT PRIMARY KEY,              -- ISO 3166-1 alpha-2
    iso_numeric  INTEGER NOT NULL UNIQUE,       -- ISO 3166-1 numeric, an order that no collation can change
    name         TEXT NOT NULL UNIQUE
);

CREATE TABLE city (
    city_id      INTEGER PRIMARY KEY,           -- the GeoNames id
    country_code TEXT NOT NULL REFERENCES country (country_code),
    country      TEXT NOT NULL REFERENCES country (name),
    name         TEXT NOT NULL,
    lat          DOUBLE PRECISION NOT NULL,     -- degrees north, WGS 84
    lon          DOUBLE PRECISION NOT NULL,     -- degrees east, WGS 84
    population   INTEGER NOT NULL,
    authorships  INTEGER NOT NULL,              -- how many authorships the city has, the order of its domain
    UNIQUE (country, name)
);

CREATE TABLE institution (
    institution_id INTEGER PRIMARY KEY,
    city_id        INTEGER NOT NULL REFERENCES city (city_id),
    name           TEXT NOT NULL,
    UNIQUE (city_id, name)
);

CREATE TABLE topic (
    topic_id INTEGER PRIMARY KEY,
    slug     TEXT NOT NULL UNIQUE,
    name     TEXT NOT NULL,
    papers   INTEGER NOT NULL                   -- how many papers the topic has, the order of its domain
);

CREATE TABLE paper (
    pmid     INTEGER PRIMARY KEY,               -- above 90 million: no PubMed id as yet, since these papers are generated
    topic_id INTEGER NOT NULL REFERENCES topic (topic_id),
    year     SMALLINT NOT NULL
);

-- One row says that an author signed a paper from an institution. Country and city are repeated as text, as the affiliation parser wrote
-- them, so that a map needs no join to find its places.
CREATE TABLE authorship (
    authorship_id          INTEGER PRIMARY KEY,
    pmid                   INTEGER NOT NULL,
    author_id              INTEGER NOT NULL,
    institution_id         INTEGER NOT NULL,
    country                TEXT NOT NULL,
    city                   TEXT NOT NULL,
    affiliation_confidence SMALLINT NOT NULL CHECK (affiliation_confidence BETWEEN 1 AND 3)  -- 1 low, 2 medium, 3 high
);

-- Indexes: the loader makes them after the rows, which is faster than keeping them up to date row by row.

CREATE INDEX idx_authorship_pmid_country ON authorship (pmid, country);
CREATE INDEX idx_authorship_pmid_city ON authorship (pmid, country, city);
CREATE INDEX idx_authorship_confidence ON authorship (affiliation_confidence);

-- The papers of one topic …
CREATE INDEX idx_paper_topic ON paper (topic_id, pmid);
-- … and all that a map wants to know of their authorships, read from the index alone.
CREATE INDEX idx_authorship_paper ON authorship (pmid, country, city, author_id, institution_id, affiliation_confidence);
-- All authorships of one country, or of one city. The other columns are there so that even the largest country, a quarter of the table,
-- is answered by an index-only scan.
CREATE INDEX idx_authorship_place ON authorship (country, city, pmid, author_id, institution_id, affiliation_confidence);
