-- A movie store with several shops: every shop sells the same films at prices and stocks of its own.
create schema movie_store;

create table movie_store.shops (
  id   text primary key,
  name text not null
);

create table movie_store.products (
  id                integer primary key,
  title             text not null,
  genre             text,
  released_on       date,
  mpaa_rating       text,
  running_minutes   integer,
  distributor       text,
  director          text,
  based_on          text,
  worldwide_gross   bigint,
  critics_percent   integer,
  imdb_rating       numeric(3, 1),
  imdb_votes        integer
);

-- One for all offers: an offer that is deleted and made anew never has a version that it had before.
create sequence movie_store.offer_versions as integer;

create table movie_store.offers (
  shop_id     text    not null,
  product_id  integer not null,
  price_cents integer not null check (price_cents > 0),
  stock       integer not null check (stock >= 0),
  -- Taken under the lock of the row, so that of two changes the later one has the higher.
  version     integer not null default nextval('movie_store.offer_versions')
);

create table movie_store.customers (
  id      integer primary key,
  country text not null
);

create table movie_store.orders (
  id          integer primary key,
  shop_id     text        not null,
  customer_id integer     not null,
  ordered_at  timestamptz not null
);

create table movie_store.order_items (
  order_id    integer not null,
  product_id  integer not null,
  quantity    integer not null check (quantity > 0),
  price_cents integer not null
);
