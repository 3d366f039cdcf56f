select strftime(timezone('UTC', time), '%Y-%m-%d %H:%M') as time, magnitude, place, depth_km, felt_reports
from earthquakes
where time between cast(:since as timestamptz) and cast(:until as timestamptz)
order by magnitude desc, time
limit :top
