/*---
# One snapshot per country, topic and confidence: every city with its place on the map and its scholars.
path       = "country-map/{region}/{topic}/{confidence}.json"
shape      = "rows"
decimals   = { lat = 4, lon = 4 }                    # degrees to four decimals, about 11 metres
max_age    = "60s"
edge_ttl   = "1d"
cache_tags = ["country-map", "region:{region}", "topic:{topic}"]
on_miss    = "live"

# ISO numeric codes follow the English alphabet nearly everywhere and sort alike under every collation, which names would not.
[keys.region]
sql    = "SELECT name AS region FROM country ORDER BY iso_numeric"

[keys.topic]
sql    = "SELECT slug AS topic, name AS label FROM topic ORDER BY papers DESC, topic_id"

[keys.confidence]
values = ["low", "medium", "high"]

[limits]                                             # of `tintype serve`, for keys outside the published set
per_minute = 20                                      # answers a minute that one client may cost the database
ttl        = "30m"                                   # how long such an answer stands
---*/

-- Each author's best confidence in each city first (see world-map.sql for the reason) …
WITH scholar AS (
    SELECT p.topic_id, a.country, a.city, a.author_id, max(a.affiliation_confidence) AS best
    FROM authorship AS a
    JOIN paper AS p ON p.pmid = a.pmid
    JOIN topic AS t ON t.topic_id = p.topic_id
    WHERE a.city <> '' /*:keys region=a.country, topic=t.slug */
    GROUP BY p.topic_id, a.country, a.city, a.author_id
),
-- … then rows counted at each level.
scholars AS (
    SELECT topic_id, country, city, max(best) AS best,
           count(*) AS low,
           count(*) FILTER (WHERE best >= 2) AS medium,
           count(*) FILTER (WHERE best >= 3) AS high
    FROM scholar
    GROUP BY topic_id, country, city
)
SELECT c.country AS region,
       t.slug AS topic,
       l.confidence,
       c.name AS city,
       c.lat,
       c.lon,
       CASE l.level WHEN 1 THEN s.low WHEN 2 THEN s.medium ELSE s.high END AS scholars
FROM scholars AS s
JOIN topic AS t ON t.topic_id = s.topic_id
JOIN city AS c ON c.country = s.country AND c.name = s.city
JOIN country AS k ON k.country_code = c.country_code
CROSS JOIN (SELECT 1 AS level, 'low' AS confidence UNION ALL SELECT 2, 'medium' UNION ALL SELECT 3, 'high') AS l
WHERE l.level <= s.best
ORDER BY k.iso_numeric, s.topic_id, l.level, scholars DESC, c.city_id
