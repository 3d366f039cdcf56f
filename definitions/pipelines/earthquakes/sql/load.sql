-- An event which was loaded before is replaced, so that loading a week twice changes nothing and
-- a later feed corrects what the first, automatic analysis got wrong.
insert or replace into earthquakes by name
select
    id, time, magnitude, magnitude_type, latitude, longitude, depth_km, place, region, reviewed,
    felt_reports
from events
