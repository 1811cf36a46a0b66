/*---
# One snapshot per topic and confidence: every country with its scholars and papers.
path       = "world-map/{topic}/{confidence}.json"   # each {name} is a key column of the query below
shape      = "rows"
max_age    = "60s"                                   # browsers ask again after a minute …
edge_ttl   = "1d"                                    # … the CDN after a day, or when a publish purges it
cache_tags = ["world-map", "topic:{topic}"]
page_url   = "https://example.org/map?topic={topic}&confidence={confidence}"   # lets an editor paste the page's own URL
on_miss    = "live"

[keys.topic]
sql    = "SELECT slug AS topic, name AS label FROM topic ORDER BY papers DESC, topic_id"

[keys.confidence]
values = ["low", "medium", "high"]

[limits]                                             # of `tintype serve`, for keys outside the published set
per_minute = 10                                      # answers a minute that one client may cost the database
ttl        = "1h"                                    # how long such an answer stands
---*/

-- Confidence is cumulative: low counts everything, medium leaves out what is only low, high keeps the surest. It would be simple to count
-- distinct authors three times. It is two to four times faster to find each author's best confidence first, and then to count rows.
WITH scholar AS (
    SELECT p.topic_id, a.country, a.author_id, max(a.affiliation_confidence) AS best
    FROM authorship AS a
    JOIN paper AS p ON p.pmid = a.pmid
    JOIN topic AS t ON t.topic_id = p.topic_id
    WHERE a.country <> '' /*:keys topic=t.slug */      -- the marker: when only some topics are read, their condition goes here
    GROUP BY p.topic_id, a.country, a.author_id
),
scholars AS (
    SELECT topic_id, country, max(best) AS best,
           count(*) AS low,
           count(*) FILTER (WHERE best >= 2) AS medium,
           count(*) FILTER (WHERE best >= 3) AS high
    FROM scholar
    GROUP BY topic_id, country
),
-- The same for papers: a paper counts for a country at its best authorship there.
paper_place AS (
    SELECT p.topic_id, a.country, a.pmid, max(a.affiliation_confidence) AS best
    FROM authorship AS a
    JOIN paper AS p ON p.pmid = a.pmid
    JOIN topic AS t ON t.topic_id = p.topic_id
    WHERE a.country <> '' /*:keys topic=t.slug */      -- a marker may stand wherever it lets the database read less
    GROUP BY p.topic_id, a.country, a.pmid
),
papers AS (
    SELECT topic_id, country,
           count(*) AS low,
           count(*) FILTER (WHERE best >= 2) AS medium,
           count(*) FILTER (WHERE best >= 3) AS high
    FROM paper_place
    GROUP BY topic_id, country
)
SELECT t.slug AS topic,
       l.confidence,
       c.name AS country,
       c.country_code AS code,
       CASE l.level WHEN 1 THEN s.low WHEN 2 THEN s.medium ELSE s.high END AS scholars,
       CASE l.level WHEN 1 THEN p.low WHEN 2 THEN p.medium ELSE p.high END AS papers
FROM scholars AS s
JOIN papers AS p ON p.topic_id = s.topic_id AND p.country = s.country
JOIN topic AS t ON t.topic_id = s.topic_id
JOIN country AS c ON c.name = s.country
-- One row per country becomes one row per country and level. This form runs on both engines, VALUES with column names does not.
CROSS JOIN (SELECT 1 AS level, 'low' AS confidence UNION ALL SELECT 2, 'medium' UNION ALL SELECT 3, 'high') AS l
WHERE l.level <= s.best                                -- a place without scholars at a level is left out
-- The order: all rows of one key together, within a key the document's order, and an integer last, so that ties cannot fall differently
-- in another run. No text: its order depends on the database's collation.
ORDER BY s.topic_id, l.level, scholars DESC, c.iso_numeric
