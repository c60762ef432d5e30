-- The tables of the examples, as they are before each of them.
drop table if exists accounts, products;

create table accounts (
  id      integer primary key,
  cents   integer not null check (cents >= 0),
  version integer not null default 1
);
insert into accounts (id, cents) values (1, 1000), (2, 500);

create table products (
  id      integer primary key,
  name    text    not null,
  price   integer not null check (price >= 0),
  version integer not null default 1
);
insert into products (id, name, price) values (7, 'Lasso', 1200), (8, 'Saddle', 90000), (9, 'Spurs', 3500);

drop table if exists product_views, page_views, corral_shards, corral_marks;

create table product_views (
  product_id integer primary key,
  views      bigint  not null
);

create table page_views (
  path    text        not null,
  seen_at timestamptz not null
);
