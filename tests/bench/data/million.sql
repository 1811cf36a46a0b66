-- A world map over 333,334 topics in the demo's schema: with three levels each, 1,000,002 small documents.
-- Every topic has at least one author of the highest confidence, so that no level is empty.
create table country(country_code text primary key, iso_numeric int not null unique, name text not null unique);
insert into country select 'C' || g, g, 'Country ' || g from generate_series(1, 180) g;
create table topic(topic_id int primary key, slug text not null unique, name text not null, papers int not null);
insert into topic select g, 'topic-' || g, 'Topic ' || g, 1 from generate_series(1, 333334) g;
create table paper(pmid int primary key, topic_id int not null, year smallint not null);
insert into paper select 90000000 + g, g, 2000 + g % 25 from generate_series(1, 333334) g;
create table authorship(authorship_id int primary key, pmid int not null, author_id int not null, institution_id int not null,
                        country text not null, city text not null, affiliation_confidence smallint not null);
insert into authorship
select 2 * g + n, 90000000 + g, (g * 7 + n) % 100000, 1, 'Country ' || 1 + (g + 61 * n) % 180, '', 3 - n
from generate_series(1, 333334) g, generate_series(0, 1) n;
create index on paper(topic_id, pmid);
create index on authorship(pmid, country, city, author_id, institution_id, affiliation_confidence);
vacuum analyze;
