-- 5,000,000 short rows under 50 keys, to be read as they are: what a publish costs where the database has nothing to compute.
select setseed(0.42);
create table reading(station int not null, minute int not null, state text not null, value float8 not null);
insert into reading
select s, m, (array['ok','ok','ok','late','missing'])[1 + (random() * 4)::int], round((random() * 100)::numeric, 2)
from generate_series(1, 50) s, generate_series(1, 100000) m;
alter table reading add primary key (station, minute);
vacuum analyze reading;
