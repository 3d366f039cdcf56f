-- The busiest regions. `events` is the table which the step hands over, not one of the warehouse.
select
    region,
    count(*) as earthquakes,
    max(magnitude) as largest,
    round(median(depth_km), 1) as median_depth_km,
    sum(felt_reports)::bigint as felt_reports
from events
group by region
order by earthquakes desc, region
limit :top
