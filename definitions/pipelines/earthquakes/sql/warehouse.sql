create table if not exists earthquakes (
    id varchar primary key,
    time timestamp with time zone not null,
    magnitude double not null,
    magnitude_type varchar,
    latitude double not null,
    longitude double not null,
    depth_km double,
    place varchar,
    region varchar,
    reviewed boolean not null,
    felt_reports bigint not null
)
