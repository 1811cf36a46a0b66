/*---
path  = "reading/{station}.json"
shape = "rows"
[guard]
max_size = "64 MiB"
---*/
SELECT station, minute, state, value
FROM reading
ORDER BY station, minute
