select t.slug as topic, c.country as region, l.confidence, c.city, c.lat, c.lon,
       case l.confidence when 'low' then s.low when 'medium' then s.medium else s.high end as scholars
from (select topic_id, city_id, count(*) low, count(*) filter (where confidence>=2) medium, count(*) filter (where confidence>=3) high
      from (select p.topic_id, a.city_id, a.author_id, max(a.confidence) confidence
            from authorship a join paper p using(pmid) join topic t using(topic_id) join city c using(city_id)
            where a.confidence >= 1 /*:keys topic=t.slug, region=c.country */
            group by 1,2,3) x
      group by 1,2) s
join topic t using(topic_id) join city c using(city_id)
cross join (values ('low'),('medium'),('high')) l(confidence)
where case l.confidence when 'low' then s.low when 'medium' then s.medium else s.high end > 0
order by topic, region, confidence, scholars desc, city, city_id
